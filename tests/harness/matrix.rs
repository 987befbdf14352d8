//! The matrix: every class of faults, in every service present, in every phase of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use backup_engine::{RunOutcome, RunReport};
use backup_store::fault::{Effect, Fault, FaultPlan, Survival};

use super::judge::{Roots, judge};
use super::life::{Life, Manner, live, troubled};
use super::mix;
use super::people::USER;
use super::points::{complete, first_backup, kind_of};
use super::scenario::Scenario;
use super::trouble::{Class, Phase, Trouble, fits};
use super::world::{Machine, Template, World};

/// A class of faults: of the service and the way to it, of the store, of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Service(Class),
    /// The store or the disk is full, refuses, loses answers or what was not synced.
    Store,
    /// The process is killed.
    Kill,
}

/// A service that the engine reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Mail,
    Drive,
}

/// One cell: what goes wrong, where, when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub fate: Fate,
    pub kind: Kind,
    pub phase: Phase,
}

const CLASSES: [Class; 16] = [
    Class::Throttled,
    Class::Unavailable,
    Class::ServerError,
    Class::Timeout,
    Class::ResetBefore,
    Class::ResetInBody,
    Class::Truncated,
    Class::WrongBytes,
    Class::Unauthorized,
    Class::Quota,
    Class::Vanished,
    Class::Gone,
    Class::ExpiredUrl,
    Class::OddPages,
    Class::Change,
    Class::ClockJump,
];

impl Cell {
    /// All cells, those that cannot occur among them.
    pub fn all() -> Vec<Self> {
        let fates = CLASSES.into_iter().map(Fate::Service);
        let fates: Vec<Fate> = fates.chain([Fate::Store, Fate::Kill]).collect();
        let mut cells = Vec::new();
        for fate in fates {
            for kind in [Kind::Mail, Kind::Drive] {
                for phase in [Phase::Enumerate, Phase::Fetch, Phase::Commit] {
                    cells.push(Self { fate, kind, phase });
                }
            }
        }
        cells
    }

    /// Says why the cell cannot occur, if it cannot.
    pub fn impossible(self) -> Option<&'static str> {
        use Class::{
            Change, ClockJump, ExpiredUrl, Gone, OddPages, ResetBefore, ServerError, Throttled,
            Timeout, Truncated, Unavailable, WrongBytes,
        };
        let Fate::Service(class) = self.fate else {
            return None;
        };
        match (class, self.kind, self.phase) {
            (ExpiredUrl, Kind::Mail, _) => Some("mail has no addresses that expire"),
            (ExpiredUrl, _, Phase::Enumerate) => Some("pages come from no such address"),
            (Gone | OddPages, _, Phase::Fetch) => Some("content has no cursor and no pages"),
            (Truncated | WrongBytes, Kind::Mail, Phase::Fetch) => {
                Some("nothing tells how long a message is or what its hash is; the connection does")
            }
            (Throttled | Unavailable | ServerError | Timeout | ResetBefore, _, Phase::Commit) => {
                None
            }
            (ClockJump, _, _) => None,
            (Change, _, Phase::Commit) => Some("a commit asks the service nothing"),
            (_, _, Phase::Commit) => {
                Some("a commit asks the service nothing, and puts have no body")
            }
            _ => None,
        }
    }

    /// Tells whether the disturbed run may end without everything; the next one must not.
    fn may_be_partial(self) -> bool {
        use Class::{Quota, Truncated, Unauthorized, WrongBytes};
        matches!(
            self.fate,
            Fate::Service(Quota | Truncated | WrongBytes | Unauthorized) | Fate::Store
        )
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fate {
            Fate::Service(class) => write!(f, "{class:?}")?,
            fate => write!(f, "{fate:?}")?,
        }
        write!(f, " × {:?} × {:?}", self.kind, self.phase)
    }
}

/// One seed of the matrix: a world with one service, and a run in which nothing went wrong.
pub struct Plain<'a> {
    template: &'a Template,
    kind: Kind,
    scenario: Scenario,
    seed: u64,
    manner: Manner,
    start: World,
    effects: Vec<Effect>,
    expected: Roots,
    elapsed_ms: u64,
}

/// How often each cell was played.
pub type Tally = BTreeMap<Cell, u64>;

impl<'a> Plain<'a> {
    pub async fn new(template: &'a Template, kind: Kind, seed: u64) -> Self {
        let scenarios = [
            Scenario::First,
            Scenario::Incremental,
            Scenario::Slow,
            Scenario::Reset,
        ];
        let scenario = scenarios[(seed % 4) as usize];
        let only = |tenant: &m365_simulator::Tenant| match kind {
            Kind::Mail => tenant.remove_drive(USER),
            Kind::Drive => tenant.remove_mailbox(USER),
        };
        let start = scenario.prepare_with(template, seed, only).await;
        let manner = scenario.manner(seed);
        let mut world = start.fork();
        let life = live(template, &mut world, &manner, FaultPlan::new(), seed).await;
        complete(life.report.as_ref()).unwrap();
        let expected = first_backup(template, &world.tenant, &manner, seed).await;
        Self {
            template,
            kind,
            scenario,
            seed,
            manner,
            start,
            effects: life.effects,
            expected,
            elapsed_ms: life.elapsed.as_millis() as u64,
        }
    }

    /// Plays all cells of this service that can occur.
    pub async fn play(&self, tally: &mut Tally, wanted: u64) -> Vec<String> {
        let mut failures = Vec::new();
        for cell in Cell::all() {
            let enough = tally.get(&cell).is_some_and(|count| *count >= wanted);
            if cell.kind != self.kind || cell.impossible().is_some() || enough {
                continue;
            }
            match self.cell(cell).await {
                Ok(true) => *tally.entry(cell).or_default() += 1,
                // A run in which there is nothing of this phase.
                Ok(false) => {}
                Err(cause) => failures.push(format!(
                    "{cell}, seed {} ({:?}): {cause}",
                    self.seed, self.scenario
                )),
            }
        }
        failures
    }

    /// Plays one cell; tells whether something went wrong as it should.
    pub async fn cell(&self, cell: Cell) -> Result<bool, String> {
        let mut world = self.start.fork();
        let lot = mix(self.seed, cell.fate.number());
        let Some((plan, trouble)) = self.disturbance(cell, lot) else {
            return Ok(false);
        };
        let life = troubled(
            self.template,
            &mut world,
            &self.manner,
            plan,
            trouble.clone(),
            self.seed,
        )
        .await;
        let struck = trouble
            .as_ref()
            .is_none_or(|trouble| trouble.phase == Phase::Commit || trouble.struck() > 0);
        self.check_end(cell, &life, trouble.as_deref())?;
        judge(self.template, &mut world, &life.interval).await?;
        let survival = match lot % 3 {
            0 => Survival::Everything,
            1 => Survival::Synced,
            _ => Survival::Torn(lot),
        };
        world.machine = match life.report {
            Some(Ok(_)) => world.machine.crash(Survival::Everything),
            _ => world.machine.crash(survival),
        };
        if lot % 7 == 3 {
            world.machine = Machine::new();
        }
        let plan = FaultPlan::new();
        let next = live(self.template, &mut world, &self.manner, plan, self.seed).await;
        complete(next.report.as_ref())?;
        let verdict = judge(self.template, &mut world, &next.interval).await?;
        let moved = matches!(cell.fate, Fate::Service(Class::Change | Class::Vanished));
        let expected = match moved {
            true => first_backup(self.template, &world.tenant, &self.manner, self.seed).await,
            false => self.expected.clone(),
        };
        if verdict.newest != expected {
            return Err("the last snapshots are not what a first backup would be".to_owned());
        }
        Ok(struck)
    }

    /// What goes wrong in this cell, in a run like the recorded one.
    fn disturbance(&self, cell: Cell, lot: u64) -> Option<(FaultPlan, Option<Arc<Trouble>>)> {
        let places: Vec<u64> = (0..)
            .zip(&self.effects)
            .filter(|(place, effect)| self.phase_of(*place, effect) == Some(cell.phase))
            .map(|(place, _)| place)
            .collect();
        let requests = |place: &&u64| kind_of(&self.effects[**place as usize]) == "network";
        let pick = |places: &[u64]| {
            let count = places.len() as u64;
            (count > 0).then(|| places[(lot % count) as usize])
        };
        match cell.fate {
            Fate::Kill => {
                let place = pick(&places)?;
                Some((FaultPlan::new().with(place, Fault::StopBefore), None))
            }
            Fate::Store => {
                let own: Vec<u64> = places.iter().filter(|p| !requests(p)).copied().collect();
                let faults = [
                    Fault::Full,
                    Fault::Refused,
                    Fault::AnswerLost,
                    Fault::StopAfter,
                ];
                let fault = faults[(lot / 7 % 4) as usize];
                Some((FaultPlan::new().with(pick(&own)?, fault), None))
            }
            Fate::Service(class) if cell.phase == Phase::Commit && class != Class::ClockJump => {
                // The only service that a commit meets is the object store.
                let of_store = |place: &&u64| kind_of(&self.effects[**place as usize]) == "store";
                let own: Vec<u64> = places.iter().filter(of_store).copied().collect();
                let fault = match class {
                    Class::Throttled | Class::Unavailable => Fault::Refused,
                    Class::ResetBefore => Fault::Twice,
                    _ => Fault::AnswerLost,
                };
                Some((FaultPlan::new().with(pick(&own)?, fault), None))
            }
            Fate::Service(class) => {
                let fitting = |effect: &&Effect| {
                    request_of(effect)
                        .is_some_and(|(host, path)| fits(class, cell.phase, &host, &path))
                };
                let count = self.effects.iter().filter(fitting).count() as u64;
                let after = match cell.phase {
                    Phase::Commit => lot % 4,
                    _ if count == 0 => return None,
                    _ => lot % count,
                };
                let hits = match class {
                    Class::Unauthorized | Class::Gone => 1,
                    _ => 1 + lot / 11 % 3,
                };
                let trouble = Trouble::new(class, cell.phase, after, hits, lot);
                Some((FaultPlan::new(), Some(Arc::new(trouble))))
            }
        }
    }

    /// The phase to which an effect of the recorded run belongs.
    fn phase_of(&self, place: u64, effect: &Effect) -> Option<Phase> {
        if let Some((host, path)) = request_of(effect) {
            let phases = [Phase::Enumerate, Phase::Fetch];
            let class = Class::ClockJump;
            return phases
                .into_iter()
                .find(|phase| fits(class, *phase, &host, &path));
        }
        let words = effect.to_string();
        match kind_of(effect) {
            "store" if words.contains("leases/") => Some(Phase::Enumerate),
            "disk" if words.starts_with("append") || words.starts_with("create") => {
                let early = place < self.effects.len() as u64 / 8;
                Some(if early {
                    Phase::Enumerate
                } else {
                    Phase::Fetch
                })
            }
            _ => Some(Phase::Commit),
        }
    }

    /// A run that was disturbed may end only as its disturbance allows.
    fn check_end(&self, cell: Cell, life: &Life, trouble: Option<&Trouble>) -> Result<(), String> {
        let report: &RunReport = match &life.report {
            Some(Ok(report)) => report,
            Some(Err(_)) if cell.may_be_partial() => return Ok(()),
            Some(Err(cause)) => return Err(format!("the run fails: {cause:?}")),
            None => return Ok(()),
        };
        if !report.totals.check() {
            return Err(format!("totals do not add up: {:?}", report.totals));
        }
        let whole = matches!(
            report.outcome,
            RunOutcome::Complete | RunOutcome::CompleteWithQuarantine
        );
        if !whole && !cell.may_be_partial() {
            return Err(format!("the run is {:?}: {report:?}", report.outcome));
        }
        // Progress: what the fault itself may cost is waiting, each time.
        let hits = trouble.map_or(0, |trouble| trouble.hits);
        let allowed = self.elapsed_ms * 3 / 2 + hits * WAIT_MS + WAIT_MS;
        let elapsed = life.elapsed.as_millis() as u64;
        if elapsed > allowed {
            return Err(format!("it took {elapsed} ms, {allowed} are allowed"));
        }
        Ok(())
    }
}

/// Host and path, if the effect is a request.
fn request_of(effect: &Effect) -> Option<(String, String)> {
    let words = effect.to_string();
    let mut words = words.strip_prefix("request ")?.splitn(2, ' ');
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

/// What one fault may cost: a timeout of a hundred seconds, and the longest wait after it.
const WAIT_MS: u64 = 220_000;

impl Fate {
    fn number(self) -> u64 {
        match self {
            Self::Service(class) => class as u64,
            Self::Store => 100,
            Self::Kill => 101,
        }
    }
}
