//! Points: one scenario, one seed, one boundary between two effects, and one way of going wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use backup_store::ErrorKind;
use backup_store::fault::{Effect, Fault, FaultPlan, SimulatedDisk, Survival};

use super::backup::fingerprint;
use super::judge::judge;
use super::scenario::Scenario;
use super::world::{Deed, Journal, Life, Note, Template, World, mix};

/// How things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The machine loses everything that was not synced.
    CrashSynced,
    /// The program dies, the machine does not.
    Killed,
    /// Of what was not synced, something is left: torn, with holes, with garbage.
    CrashTorn,
    /// As before, and the effect that was under way lands in a later life.
    CrashLate,
    /// The machine is gone, disk and journal with it.
    NewMachine,
    /// The effect is done, and its answer is an error.
    AnswerLost,
    /// The effect is done twice.
    Twice,
    /// The effect is refused.
    Refused,
    /// There is no room from here on.
    Full,
}

impl Way {
    pub const ALL: [Self; 9] = [
        Self::CrashSynced,
        Self::Killed,
        Self::CrashTorn,
        Self::CrashLate,
        Self::NewMachine,
        Self::AnswerLost,
        Self::Twice,
        Self::Refused,
        Self::Full,
    ];

    fn fault(self) -> Option<Fault> {
        match self {
            Self::AnswerLost => Some(Fault::AnswerLost),
            Self::Twice => Some(Fault::Twice),
            Self::Refused => Some(Fault::Refused),
            Self::Full => Some(Fault::Full),
            _ => None,
        }
    }
}

/// One life of a scenario in which nothing went wrong.
pub struct Recording<'a> {
    template: &'a Template,
    scenario: Scenario,
    seed: u64,
    round: u64,
    start: World,
    notes: Vec<(u64, Note)>,
    effects: Vec<Effect>,
    deeds: BTreeSet<Deed>,
}

/// What went wrong at a point, and how to play it again.
#[derive(Debug, Clone)]
pub struct Failure {
    pub scenario: Scenario,
    pub seed: u64,
    pub boundary: u64,
    pub way: Way,
    pub effect: String,
    pub cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, seed {}, boundary {} (next: {}), {:?}: {}",
            self.scenario, self.seed, self.boundary, self.effect, self.way, self.cause
        )
    }
}

/// How many points were tried, by scenario and by way.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    pub points: u64,
    pub by_scenario: BTreeMap<Scenario, u64>,
    pub by_way: BTreeMap<Way, u64>,
    pub snapshots: u64,
    pub contents: u64,
    /// Points after which a row of the journal was there to be gone on from.
    pub resumed: u64,
    /// What happened in the lives that were recorded.
    pub deeds: BTreeSet<Deed>,
}

impl<'a> Recording<'a> {
    /// Records a life in which nothing goes wrong; that even this fails only a mutant brings about.
    pub async fn new(
        template: &'a Template,
        scenario: Scenario,
        seed: u64,
    ) -> Result<Self, Failure> {
        let failed = |cause: backup_store::Error| Failure {
            scenario,
            seed,
            boundary: 0,
            way: Way::Killed,
            effect: "all of them".to_owned(),
            cause: format!("it fails though nothing goes wrong: {cause:?}"),
        };
        let (start, round) = scenario.prepare(template, seed).await.map_err(failed)?;
        let world = fork(&start);
        let life = Life::begin(template, world, FaultPlan::new(), seed);
        scenario.play(&life, seed, round).await.map_err(failed)?;
        let (world, notes, effects) = life.end();
        Ok(Self {
            template,
            scenario,
            seed,
            round,
            start,
            notes,
            effects,
            deeds: world.deeds,
        })
    }

    /// Boundaries: before each effect, and after the last.
    pub fn boundaries(&self) -> u64 {
        self.effects.len() as u64 + 1
    }

    /// Plays one point.
    pub async fn point(
        &self,
        boundary: u64,
        way: Way,
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        let played = self.try_point(boundary, way, figures).await;
        figures.points += 1;
        *figures.by_scenario.entry(self.scenario).or_default() += 1;
        *figures.by_way.entry(way).or_default() += 1;
        let effect = self.effects.get(boundary as usize);
        played.map_err(|cause| Failure {
            scenario: self.scenario,
            seed: self.seed,
            boundary,
            way,
            effect: effect.map_or_else(|| "nothing".to_owned(), Effect::to_string),
            cause,
        })
    }

    async fn try_point(
        &self,
        boundary: u64,
        way: Way,
        figures: &mut Figures,
    ) -> Result<(), String> {
        let dice = mix(self.seed, boundary << 8 | way as u64);
        let (world, plan) = match way.fault() {
            None => self.crash(boundary, way, dice),
            Some(fault) => (self.live(boundary, fault, dice).await?, FaultPlan::new()),
        };
        figures.resumed += u64::from(!world.journal.rows.is_empty());
        let verdict = judge(self.template, &world).await?;
        figures.snapshots += verdict.snapshots as u64;
        figures.contents += verdict.contents as u64;
        // The next run, on the same service or on one that has moved on.
        let round = self.round + dice % 2;
        let life = Life::begin(self.template, world, plan, self.seed);
        let next = self.scenario.play(&life, self.seed, round).await;
        next.map_err(|cause| format!("the next run fails: {cause:?}"))?;
        let landed = life.backend.clone();
        let (world, ..) = life.end();
        let verdict = judge(self.template, &world).await?;
        let target = self.scenario.target(self.seed, round);
        let expected = fingerprint(target.iter().map(|(item, number)| (*item, *number)));
        if verdict.newest != Some(expected) {
            return Err("the next run did not store what the service holds".to_owned());
        }
        landed.land_all().await.map_err(|cause| cause.to_string())?;
        judge(self.template, &world).await.map(drop)
    }

    /// The world after a crash at a boundary, and what the next life still has to expect.
    fn crash(&self, boundary: u64, way: Way, dice: u64) -> (World, FaultPlan) {
        let mut world = fork(&self.start);
        world.lives += 1;
        for effect in &self.effects[..boundary as usize] {
            effect.apply(&world.memory, &world.disk);
        }
        for (at, note) in &self.notes {
            // What was noted at this very boundary was written just before the crash, or not.
            if *at < boundary || (*at == boundary && (dice & 16 == 0)) {
                world.note(note);
            }
        }
        let mut plan = FaultPlan::new();
        let survival = match way {
            Way::CrashSynced => Survival::Synced,
            Way::CrashTorn | Way::CrashLate => Survival::Torn(dice),
            _ => Survival::Everything,
        };
        world.disk = world.disk.crash(survival, FaultPlan::new());
        if way == Way::NewMachine {
            world.disk = SimulatedDisk::new(FaultPlan::new());
            world.journal = Journal::default();
        }
        if way == Way::CrashLate
            && let Some(effect) = self.effects.get(boundary as usize)
        {
            plan = plan.with_late(dice % 40, effect.clone());
        }
        (world, plan)
    }

    /// The world after a life in which something went wrong that did not stop the machine.
    async fn live(&self, boundary: u64, fault: Fault, dice: u64) -> Result<World, String> {
        let plan = FaultPlan::new().with(boundary, fault);
        let life = Life::begin(self.template, fork(&self.start), plan, self.seed);
        let done = self.scenario.play(&life, self.seed, self.round).await;
        let on_disk = self
            .effects
            .get(boundary as usize)
            .is_some_and(Effect::is_of_disk);
        match (fault, done) {
            (Fault::Full, Err(cause)) if cause.kind() != ErrorKind::StorageFull => {
                return Err(format!("a full disk is called {cause:?}"));
            }
            (Fault::AnswerLost | Fault::Twice | Fault::Refused, Err(cause)) if !on_disk => {
                return Err(format!("one bad answer ends the run: {cause:?}"));
            }
            _ => {}
        }
        let (mut world, ..) = life.end();
        let survival = if dice & 16 == 0 {
            Survival::Everything
        } else {
            Survival::Torn(dice)
        };
        world.disk = world.disk.crash(survival, FaultPlan::new());
        Ok(world)
    }
}

/// Copies a world, its backend included.
fn fork(world: &World) -> World {
    let mut copy = world.clone();
    copy.memory = world.memory.fork();
    copy.disk = world.disk.fork(FaultPlan::new());
    copy
}

/// Plays every boundary of one scenario and seed, each in `ways` ways that rotate with the seed.
pub async fn sweep(
    template: &Template,
    scenario: Scenario,
    seed: u64,
    ways: u64,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let recording = Recording::new(template, scenario, seed).await?;
    figures.deeds.extend(&recording.deeds);
    for boundary in 0..recording.boundaries() {
        for turn in 0..ways {
            let way = Way::ALL[((seed + boundary + turn * 4) % Way::ALL.len() as u64) as usize];
            recording.point(boundary, way, figures).await?;
        }
    }
    Ok(())
}
