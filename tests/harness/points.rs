//! Points: one scenario, one seed, one boundary between two effects, and one way of going wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use backup_engine::{ErrorKind, ResourceOutcome, RunOutcome, RunReport};
use backup_store::fault::{Effect, Fault, FaultPlan, Survival};

use m365_simulator::Tenant;

use super::judge::{Roots, Verdict, difference, judge};
use super::life::{Life, Manner, live};
use super::mix;
use super::people::USER;
use super::scenario::Scenario;
use super::world::{Machine, Template, World};

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
    /// Another machine goes on, and then the first one comes back as it was.
    OldMachineReturns,
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
    /// Those in which the run ends there.
    pub const CRASHES: [Self; 6] = [
        Self::CrashSynced,
        Self::Killed,
        Self::CrashTorn,
        Self::CrashLate,
        Self::NewMachine,
        Self::OldMachineReturns,
    ];
    /// Those in which it goes on, if it can.
    pub const FAULTS: [Self; 4] = [Self::AnswerLost, Self::Twice, Self::Refused, Self::Full];

    fn fault(self) -> Fault {
        match self {
            Self::AnswerLost => Fault::AnswerLost,
            Self::Twice => Fault::Twice,
            Self::Refused => Fault::Refused,
            Self::Full => Fault::Full,
            _ => Fault::StopBefore,
        }
    }

    fn survival(self, dice: u64) -> Survival {
        match self {
            Self::CrashSynced => Survival::Synced,
            Self::CrashTorn | Self::CrashLate => Survival::Torn(dice),
            _ => Survival::Everything,
        }
    }

    /// Tells whether the next run has what the disturbed one committed.
    fn keeps_the_machine(self) -> bool {
        !matches!(self, Self::NewMachine | Self::OldMachineReturns)
    }
}

/// One life of a scenario in which nothing went wrong.
pub struct Recording<'a> {
    pub template: &'a Template,
    pub scenario: Scenario,
    pub seed: u64,
    pub manner: Manner,
    pub start: World,
    pub effects: Vec<Effect>,
    /// What a first backup of the last state of the tenant holds.
    pub expected: Roots,
}

/// What went wrong at a point, and how to play it again.
#[derive(Debug, Clone)]
pub struct Failure {
    pub scenario: Scenario,
    pub seed: u64,
    pub boundary: u64,
    pub way: Way,
    /// Where the life after that was stopped, if it was.
    pub second: Option<u64>,
    pub effect: String,
    pub cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            seed,
            boundary,
            way,
            second,
            effect,
            cause,
        } = self;
        write!(
            f,
            "{scenario:?}, seed {seed}, boundary {boundary} (next: {effect}), {way:?}, then {second:?}: {cause}"
        )
    }
}

/// How many points were tried, and what was read to judge them.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    /// Crashes, each at one boundary.
    pub points: u64,
    /// Effects that failed otherwise.
    pub faults: u64,
    /// Crashes in a run after a crash.
    pub doubles: u64,
    pub requests: u64,
    pub by_scenario: BTreeMap<Scenario, u64>,
    pub by_way: BTreeMap<Way, u64>,
    pub by_effect: BTreeMap<&'static str, u64>,
    pub snapshots: u64,
    pub contents: u64,
    /// Contents that were fetched again after a crash, at most at one point, and in all.
    pub repeated_most: u64,
    pub repeated: u64,
}

impl Figures {
    pub fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.faults += other.faults;
        self.requests += other.requests;
        self.doubles += other.doubles;
        for (key, count) in &other.by_scenario {
            *self.by_scenario.entry(*key).or_default() += count;
        }
        for (key, count) in &other.by_way {
            *self.by_way.entry(*key).or_default() += count;
        }
        for (key, count) in &other.by_effect {
            *self.by_effect.entry(key).or_default() += count;
        }
        self.snapshots += other.snapshots;
        self.contents += other.contents;
        self.repeated_most = self.repeated_most.max(other.repeated_most);
        self.repeated += other.repeated;
    }
}

impl<'a> Recording<'a> {
    pub async fn new(template: &'a Template, scenario: Scenario, seed: u64) -> Self {
        let recording = Self::try_new(template, scenario, seed).await;
        recording.unwrap_or_else(|cause| panic!("{scenario:?}, seed {seed}: {cause}"))
    }

    /// Records a life; it may go wrong only where a rule is broken.
    pub async fn try_new(
        template: &'a Template,
        scenario: Scenario,
        seed: u64,
    ) -> Result<Self, String> {
        let start = scenario.prepare(template, seed).await;
        let manner = scenario.manner(seed);
        let mut world = start.fork();
        let life = live(template, &mut world, &manner, FaultPlan::new(), seed).await;
        complete(life.report.as_ref())?;
        world.traffic.act_all(&world.tenant);
        let expected = try_first_backup(template, &world.tenant, &manner, seed).await?;
        Ok(Self {
            template,
            scenario,
            seed,
            manner,
            start,
            effects: life.effects,
            expected,
        })
    }

    /// Boundaries: before each effect, and after the last.
    pub fn boundaries(&self) -> u64 {
        self.effects.len() as u64 + 1
    }

    /// Plays one point; with `second`, the life after it is stopped there, too.
    pub async fn point(
        &self,
        boundary: u64,
        way: Way,
        second: Option<u64>,
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        let effect = self.effects.get(boundary as usize);
        let kind = effect.map_or("end", kind_of);
        *figures.by_effect.entry(kind).or_default() += 1;
        *figures.by_scenario.entry(self.scenario).or_default() += 1;
        *figures.by_way.entry(way).or_default() += 1;
        match second {
            None if Way::CRASHES.contains(&way) => figures.points += 1,
            None => figures.faults += 1,
            Some(_) => figures.doubles += 1,
        }
        let played = self.try_point(boundary, way, second, figures).await;
        played.map_err(|cause| Failure {
            scenario: self.scenario,
            seed: self.seed,
            boundary,
            way,
            second,
            effect: effect.map_or_else(|| "nothing".to_owned(), Effect::to_string),
            cause,
        })
    }

    async fn try_point(
        &self,
        boundary: u64,
        way: Way,
        second: Option<u64>,
        figures: &mut Figures,
    ) -> Result<(), String> {
        let dice = mix(self.seed, boundary << 8 | way as u64);
        let mut world = self.start.fork();
        let plan = FaultPlan::new().with(boundary, way.fault());
        let first = live(self.template, &mut world, &self.manner, plan, self.seed).await;
        self.check_end(&first, boundary, way)?;
        let mut since = *first.interval.start();
        self.judge(&mut world, since, figures).await?;
        self.between(&mut world, way, dice, figures).await?;

        let mut fetched = first.fetched;
        if let Some(second) = second {
            let plan = FaultPlan::new().with(second, Fault::StopBefore);
            let life = live(self.template, &mut world, &self.manner, plan, self.seed).await;
            self.judge(&mut world, since, figures).await?;
            self.check_repeats(&world, (&fetched, &life.fetched), way, 1, figures)?;
            fetched.extend(life.fetched);
            world.machine = world.machine.crash(way.survival(!dice));
        }

        let late = self.effects.get(boundary as usize);
        let plan = match late.filter(|_| way == Way::CrashLate) {
            Some(effect) => FaultPlan::new().with_late(dice % 60, effect.clone()),
            None => FaultPlan::new(),
        };
        let next = live(self.template, &mut world, &self.manner, plan, self.seed).await;
        complete(next.report.as_ref())?;
        // A snapshot that lands late shows what was there in its own time.
        if way != Way::CrashLate {
            since = *next.interval.start();
        }
        let mut verdict = self.judge(&mut world, since, figures).await?;
        let lives = 1 + u64::from(second.is_some());
        self.check_repeats(&world, (&fetched, &next.fetched), way, lives, figures)?;

        if world.traffic.act_all(&world.tenant) || self.scenario.moves() {
            verdict = self.quiet_life(&mut world, figures).await?;
        }
        // Requests move the time of the tenant on, and with it the dates of what changes meanwhile.
        let expected = match self.scenario.moves() {
            true => first_backup(self.template, &world.tenant, &self.manner, self.seed).await,
            false => self.expected.clone(),
        };
        if verdict.newest != expected {
            return Err(self.explain(&world).await);
        }
        figures.requests += world.traffic.requests;
        next.backend
            .land_all()
            .await
            .map_err(|cause| cause.to_string())?;
        if dice.is_multiple_of(16) {
            let idle = self.idle_life(&mut world, figures).await?;
            if idle.newest != expected {
                return Err("an idle run changed something".to_owned());
            }
        }
        Ok(())
    }

    /// Says how the last snapshots differ from a first backup.
    async fn explain(&self, world: &World) -> String {
        let mut fresh = self.template.world(&world.tenant);
        let plan = FaultPlan::new();
        let life = live(self.template, &mut fresh, &self.manner, plan, !self.seed).await;
        let words = difference(self.template, world, &fresh).await;
        let end = life
            .report
            .map(|report| report.map(|report| report.outcome));
        format!("the last snapshots are not what a first backup would be ({end:?}): {words}")
    }

    /// What happens to the machine between the lives.
    async fn between(
        &self,
        world: &mut World,
        way: Way,
        dice: u64,
        figures: &mut Figures,
    ) -> Result<(), String> {
        world.machine = world.machine.crash(way.survival(dice));
        match way {
            Way::NewMachine => world.machine = Machine::new(),
            Way::OldMachineReturns => {
                let old = std::mem::replace(&mut world.machine, Machine::new());
                // The other one may not come to its end, either: it is asked to stop, or killed.
                let mut manner = self.manner;
                manner.stop_after = (dice % 3 == 1).then_some(1 + dice / 3 % 4);
                let stop = dice / 3 % self.boundaries();
                let plan = match dice % 3 {
                    2 => FaultPlan::new().with(stop, Fault::StopBefore),
                    _ => FaultPlan::new(),
                };
                let other = live(self.template, world, &manner, plan, self.seed).await;
                match &other.report {
                    Some(Ok(report)) if report.outcome == RunOutcome::Interrupted => {}
                    Some(report) => drop(complete(Some(report))?),
                    None => {}
                }
                self.judge(world, *other.interval.start(), figures).await?;
                world.machine = old;
            }
            _ => {}
        }
        Ok(())
    }

    async fn judge(
        &self,
        world: &mut World,
        since: usize,
        figures: &mut Figures,
    ) -> Result<Verdict, String> {
        let interval: RangeInclusive<usize> = since..=world.traffic.history.len() - 1;
        let verdict = judge(self.template, world, &interval).await?;
        figures.snapshots += verdict.snapshots;
        figures.contents += verdict.contents;
        Ok(verdict)
    }

    /// A run during which nothing changes.
    async fn quiet_life(
        &self,
        world: &mut World,
        figures: &mut Figures,
    ) -> Result<Verdict, String> {
        let plan = FaultPlan::new();
        let life = live(self.template, world, &self.manner, plan, self.seed).await;
        complete(life.report.as_ref())?;
        self.judge(world, *life.interval.start(), figures).await
    }

    /// A run before which nothing changed: it must find nothing.
    async fn idle_life(&self, world: &mut World, figures: &mut Figures) -> Result<Verdict, String> {
        let plan = FaultPlan::new();
        let life = live(self.template, world, &self.manner, plan, self.seed).await;
        let report = complete(life.report.as_ref())?;
        let idle = |outcome| outcome == ResourceOutcome::Unchanged;
        let all = report.resources.iter().all(|found| idle(found.outcome));
        if self.scenario != Scenario::Quarantine && !(all && life.fetched.is_empty()) {
            return Err(format!("an idle run found something: {report:?}"));
        }
        self.judge(world, *life.interval.start(), figures).await
    }

    /// A life that was disturbed may end only as its disturbance allows.
    fn check_end(&self, life: &Life, boundary: u64, way: Way) -> Result<(), String> {
        let Some(report) = &life.report else {
            return match way.fault() {
                Fault::StopBefore => Ok(()),
                _ => Err("the machine stopped for nothing".to_owned()),
            };
        };
        let at = self.effects.get(boundary as usize).map(kind_of);
        match report {
            Ok(report) if report.totals.check() => match report.outcome {
                RunOutcome::Complete | RunOutcome::CompleteWithQuarantine => Ok(()),
                // Where there is no room, a listing may still be read.
                _ if way == Way::Full => Ok(()),
                outcome => Err(format!(
                    "a bad answer makes the run {outcome:?}: {report:?}"
                )),
            },
            Ok(report) => Err(format!("totals do not add up: {:?}", report.totals)),
            Err(_) if way == Way::Full => Ok(()),
            Err(cause) if cause.kind() == ErrorKind::Journal && at == Some("journal") => Ok(()),
            Err(_) if at == Some("disk") => Ok(()),
            Err(cause) => Err(format!("one bad answer ends the run: {cause:?}")),
        }
    }

    /// The law of recovery: after a crash, what came of a resource and was not kept is fetched
    /// again, of all its pages together, and what was in flight. A draft is always fetched again: it
    /// may have changed under the same change key.
    fn check_repeats(
        &self,
        world: &World,
        (before, now): (&[String], &[String]),
        way: Way,
        lives: u64,
        figures: &mut Figures,
    ) -> Result<(), String> {
        let known: BTreeSet<&String> = before.iter().collect();
        let repeated: Vec<&String> = now.iter().filter(|path| known.contains(path)).collect();
        figures.repeated += repeated.len() as u64;
        if self.scenario.moves()
            || self.scenario == Scenario::Quarantine
            || !way.keeps_the_machine()
        {
            return Ok(());
        }
        let messages = world.tenant.messages(USER).into_iter();
        let drafts: Vec<String> = messages.filter(|m| m.draft).map(|m| m.id).collect();
        let is_draft = |path: &str| drafts.iter().any(|id| path.contains(id.as_str()));
        let most = (self.manner.keep_items + self.manner.requests_per_resource) as u64 * lives;
        for of_mail in [true, false] {
            let own = |path: &&&String| path.ends_with("/$value") == of_mail && !is_draft(path);
            let count = repeated.iter().filter(own).count() as u64;
            figures.repeated_most = figures.repeated_most.max(count);
            if count > most {
                return Err(format!(
                    "{count} contents of one resource were fetched again, {most} are allowed"
                ));
            }
        }
        Ok(())
    }

    /// Crashes at every boundary, and lets every third effect fail otherwise; the ways rotate with
    /// the seed.
    pub async fn sweep(&self, figures: &mut Figures) -> Result<(), Failure> {
        let pick = |ways: &[Way], turn: u64| ways[(turn % ways.len() as u64) as usize];
        for boundary in 0..self.boundaries() {
            let turn = self.seed + boundary;
            let crash = pick(&Way::CRASHES, turn);
            self.point(boundary, crash, None, figures).await?;
            if turn.is_multiple_of(3) {
                let fault = pick(&Way::FAULTS, turn / 3);
                self.point(boundary, fault, None, figures).await?;
            }
        }
        Ok(())
    }
}

/// What a first backup of the tenant holds.
pub async fn first_backup(
    template: &Template,
    tenant: &Tenant,
    manner: &Manner,
    seed: u64,
) -> Roots {
    let made = try_first_backup(template, tenant, manner, seed).await;
    made.unwrap_or_else(|cause| panic!("a first backup: {cause}"))
}

async fn try_first_backup(
    template: &Template,
    tenant: &Tenant,
    manner: &Manner,
    seed: u64,
) -> Result<Roots, String> {
    let mut fresh = template.world(tenant);
    let life = live(template, &mut fresh, manner, FaultPlan::new(), !seed).await;
    complete(life.report.as_ref())?;
    let verdict = judge(template, &mut fresh, &life.interval).await;
    Ok(verdict?.newest)
}

/// A run that nothing disturbs must end well.
pub fn complete(report: Option<&backup_engine::Result<RunReport>>) -> Result<&RunReport, String> {
    match report {
        Some(Ok(report)) => match report.outcome {
            RunOutcome::Complete | RunOutcome::CompleteWithQuarantine => Ok(report),
            outcome => Err(format!("the next run is {outcome:?}: {report:?}")),
        },
        Some(Err(cause)) => Err(format!("the next run fails: {cause:?}")),
        None => Err("the next run stops".to_owned()),
    }
}

pub fn kind_of(effect: &Effect) -> &'static str {
    if effect.is_of_disk() {
        return "disk";
    }
    let words = effect.to_string();
    match words.split(' ').next() {
        Some("request") => "network",
        Some("journal") => "journal",
        _ => "store",
    }
}

/// Plays every boundary of one scenario and seed.
pub async fn sweep(
    template: &Template,
    scenario: Scenario,
    seed: u64,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let recording = Recording::new(template, scenario, seed).await;
    recording.sweep(figures).await
}
