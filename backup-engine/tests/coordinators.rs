//! Laws of every coordinator: a file of one machine, a PostgreSQL database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
mod postgres;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backup_engine::coordinator::{
    Answer, Ask, Claim, Grant, Opening, SqliteCoordinator, Standing, Wanted, Work, WorkerId,
};
use backup_engine::{Coordinator, ErrorKind};
use backup_store::catalog::ResourceId;
use backup_store::{InlineOffload, RunId, StoreId, SystemEnvironment};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The same shared state twice: claims of the one last an hour, those of the other run out at once.
struct Pair {
    lasting: Arc<dyn Coordinator>,
    fleeting: Arc<dyn Coordinator>,
}

const HOUR: Duration = Duration::from_secs(3600);

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name)
}

fn resource(number: usize) -> ResourceId {
    ResourceId::new(format!("outlook:{number}"))
}

fn ask(who: &str, store: StoreId, wanted: Wanted) -> Ask {
    Ask {
        worker: worker(who),
        store,
        floor: 1,
        holding: Vec::new(),
        wanted,
    }
}

fn one(number: usize) -> Wanted {
    Wanted::Resource(resource(number))
}

fn work(numbers: std::ops::Range<usize>) -> Vec<Work> {
    let work = |number| Work {
        resource: resource(number),
        sealed: number.to_string().into_bytes(),
    };
    numbers.map(work).collect()
}

async fn claim(coordinator: &Arc<dyn Coordinator>, ask: Ask) -> Option<Grant> {
    match coordinator.claim(ask).await.unwrap() {
        Answer::Granted(grant) => Some(grant),
        _ => None,
    }
}

fn fresh(seed: u64) -> StoreId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&seed.to_le_bytes());
    StoreId::from_bytes(id)
}

fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

fn opening(number: u8) -> Opening {
    Opening {
        run: run(number),
        sync_check: number % 2 == 1,
    }
}

/// Every law but those of chance; `pair` is empty.
async fn laws(pair: &Pair) {
    a_claim_has_one_holder(pair).await;
    a_claim_that_runs_out_is_lost(pair).await;
    a_worker_that_was_killed_takes_up_its_claims_at_once(pair).await;
    what_another_touched_since_is_said(pair).await;
    shares_count_the_living(pair).await;
    a_run_is_shared_until_all_of_it_is_done(pair).await;
    a_run_that_is_gone_is_done(pair).await;
    many_workers_take_each_unit_once(pair).await;
}

async fn a_claim_has_one_holder(Pair { lasting, .. }: &Pair) {
    let store = fresh(1);
    let first = claim(lasting, ask("a", store, one(1))).await.unwrap().claim;
    assert_eq!(first.token, 1);
    assert_eq!(claim(lasting, ask("b", store, one(1))).await, None);
    let elsewhere = claim(lasting, ask("b", fresh(2), one(1))).await;
    assert_eq!(elsewhere.unwrap().claim.token, 1, "stores are apart");
    assert!(lasting.release(&first).await.unwrap());
    let second = claim(lasting, ask("b", store, one(1))).await.unwrap().claim;
    assert_eq!(second.token, 2);
    assert!(!lasting.complete(&first).await.unwrap());
    assert!(lasting.complete(&second).await.unwrap());
    assert!(lasting.complete(&second).await.unwrap(), "twice is once");
    let floor = Ask {
        floor: 40,
        ..ask("a", store, one(1))
    };
    let third = claim(lasting, floor).await.unwrap().claim;
    assert_eq!(third.token, 40, "the store knows of greater ones");
    assert!(lasting.fail(&third, "no licence").await.unwrap());
    let fourth = claim(lasting, ask("b", store, one(1))).await.unwrap().claim;
    assert_eq!(fourth.token, 41);
    lasting.leave(&worker("b")).await.unwrap();
    assert!(claim(lasting, ask("a", store, one(1))).await.is_some());
}

async fn a_claim_that_runs_out_is_lost(Pair { lasting, fleeting }: &Pair) {
    let store = fresh(3);
    let paused = claim(fleeting, ask("a", store, one(1)))
        .await
        .unwrap()
        .claim;
    let kept = claim(fleeting, ask("a", store, one(2)))
        .await
        .unwrap()
        .claim;
    let both = [paused.clone(), kept.clone()];
    assert_eq!(lasting.heartbeat(&worker("a"), &both).await.unwrap(), []);
    assert_eq!(claim(lasting, ask("b", store, one(1))).await, None);
    assert_eq!(fleeting.heartbeat(&worker("a"), &both).await.unwrap(), []);
    let taken = claim(lasting, ask("b", store, one(1))).await.unwrap().claim;
    assert!(taken.token > paused.token);
    let lost = fleeting.heartbeat(&worker("a"), &both).await.unwrap();
    assert_eq!(
        lost,
        std::slice::from_ref(&paused),
        "the other one is nobody's yet"
    );
    for ended in [
        fleeting.complete(&paused).await,
        fleeting.fail(&paused, "late").await,
        fleeting.release(&paused).await,
    ] {
        assert!(!ended.unwrap(), "what is lost cannot be ended");
    }
    assert_eq!(
        lasting
            .heartbeat(&worker("b"), std::slice::from_ref(&taken))
            .await
            .unwrap(),
        []
    );
    assert!(lasting.complete(&taken).await.unwrap());
    let ended = [taken];
    assert_eq!(
        lasting.heartbeat(&worker("b"), &ended).await.unwrap(),
        ended
    );
}

async fn a_worker_that_was_killed_takes_up_its_claims_at_once(Pair { lasting, .. }: &Pair) {
    let store = fresh(4);
    let before = claim(lasting, ask("a", store, one(1))).await.unwrap().claim;
    let holding = Ask {
        holding: vec![resource(1)],
        ..ask("a", store, one(1))
    };
    assert_eq!(claim(lasting, holding).await, None, "it is in its hands");
    let after = claim(lasting, ask("a", store, one(1))).await.unwrap();
    assert!(after.claim.token > before.token);
    assert!(!after.moved, "nobody else had it");
    let beat = lasting
        .heartbeat(&worker("a"), std::slice::from_ref(&before))
        .await;
    assert_eq!(beat.unwrap(), [before], "its earlier life is over");
}

async fn what_another_touched_since_is_said(Pair { lasting, .. }: &Pair) {
    let store = fresh(5);
    for who in ["a", "b"] {
        lasting.enter(&worker(who), "tenant").await.unwrap();
    }
    let first = claim(lasting, ask("a", store, one(1))).await.unwrap();
    assert!(!first.moved, "nobody had it before");
    lasting.complete(&first.claim).await.unwrap();
    let second = claim(lasting, ask("b", store, one(1))).await.unwrap();
    assert!(second.moved, "a had it since b listed");
    lasting.complete(&second.claim).await.unwrap();
    // Clocks have a grain; a touch within it counts as later.
    tokio::time::sleep(Duration::from_millis(5)).await;
    lasting.enter(&worker("a"), "tenant").await.unwrap();
    let third = claim(lasting, ask("a", store, one(1))).await.unwrap();
    assert!(!third.moved, "a has listed since");
    for who in ["a", "b"] {
        lasting.leave(&worker(who)).await.unwrap();
    }
}

async fn shares_count_the_living(Pair { lasting, fleeting }: &Pair) {
    for (who, budget) in [("a", "one"), ("b", "one"), ("c", "two")] {
        lasting.enter(&worker(who), budget).await.unwrap();
    }
    fleeting.enter(&worker("d"), "one").await.unwrap();
    let workers = async |who| lasting.share(&worker(who)).await.unwrap().workers();
    assert_eq!(workers("a").await, 2);
    assert_eq!(workers("c").await, 1);
    lasting.heartbeat(&worker("d"), &[]).await.unwrap();
    assert_eq!(workers("a").await, 3);
    lasting.leave(&worker("b")).await.unwrap();
    assert_eq!(workers("a").await, 2);
    assert_eq!(workers("nobody").await, 1);
    for who in ["a", "c", "d"] {
        lasting.leave(&worker(who)).await.unwrap();
    }
}

async fn a_run_is_shared_until_all_of_it_is_done(Pair { lasting, .. }: &Pair) {
    let store = fresh(6);
    let opened = lasting.open_run(store, "set", opening(1)).await.unwrap();
    assert_eq!(
        (opened.run, opened.sync_check, opened.listed),
        (run(1), true, false)
    );
    let joined = lasting.open_run(store, "set", opening(2)).await.unwrap();
    assert_eq!(joined, opened, "the second joins");
    let other = lasting.open_run(store, "other", opening(2)).await.unwrap();
    assert_eq!(other.run, run(2), "sets are apart");

    let next = |who| ask(who, store, Wanted::Next(run(1)));
    lasting.offer(run(1), work(0..3)).await.unwrap();
    lasting.offer(run(1), work(1..4)).await.unwrap();
    let mut claims = Vec::new();
    for number in 0..4 {
        let who = ["a", "b"][number % 2];
        let mut asked = next(who);
        asked.holding = claims
            .iter()
            .map(|claim: &Claim| claim.resource.clone())
            .collect();
        let grant = claim(lasting, asked).await.unwrap();
        assert_eq!(
            grant.work,
            work(number..number + 1).pop(),
            "in their order, each once"
        );
        assert_eq!(grant.claim.run, Some(run(1)));
        claims.push(grant.claim);
    }
    assert!(matches!(
        lasting.claim(next("c")).await.unwrap(),
        Answer::Wait(_)
    ));
    assert!(lasting.release(&claims[3]).await.unwrap());
    let again = claim(lasting, next("c")).await.unwrap().claim;
    assert_eq!(again.resource, claims[3].resource);
    for done in &claims[..2] {
        assert!(lasting.complete(done).await.unwrap());
    }
    assert!(lasting.fail(&claims[2], "refused").await.unwrap());
    assert!(
        !lasting.complete(&claims[3]).await.unwrap(),
        "it is another's"
    );
    assert!(lasting.complete(&again).await.unwrap());
    assert!(
        matches!(lasting.claim(next("a")).await.unwrap(), Answer::Wait(_)),
        "not listed"
    );
    lasting.set_listed(run(1)).await.unwrap();
    let listed = lasting.open_run(store, "set", opening(3)).await.unwrap();
    assert!(listed.listed && listed.run == run(1));
    let standing = Standing { done: 3, failed: 1 };
    for who in ["a", "b"] {
        assert_eq!(
            lasting.claim(next(who)).await.unwrap(),
            Answer::Done(standing)
        );
    }
    let anew = lasting.open_run(store, "set", opening(4)).await.unwrap();
    assert_eq!(
        (anew.run, anew.sync_check, anew.listed),
        (run(4), false, false)
    );
    lasting.set_listed(run(4)).await.unwrap();
    let done = lasting
        .claim(ask("a", store, Wanted::Next(run(4))))
        .await
        .unwrap();
    assert_eq!(
        done,
        Answer::Done(Standing::default()),
        "nothing to do is done"
    );
}

async fn a_run_that_is_gone_is_done(Pair { lasting, .. }: &Pair) {
    let store = fresh(7);
    lasting.offer(run(9), work(0..1)).await.unwrap();
    let gone = lasting
        .claim(ask("a", store, Wanted::Next(run(9))))
        .await
        .unwrap();
    assert_eq!(gone, Answer::Done(Standing::default()));
}

async fn many_workers_take_each_unit_once(Pair { lasting, .. }: &Pair) {
    const UNITS: usize = 60;
    let store = fresh(8);
    let run = lasting
        .open_run(store, "many", opening(20))
        .await
        .unwrap()
        .run;
    lasting.offer(run, work(0..UNITS)).await.unwrap();
    lasting.set_listed(run).await.unwrap();
    let workers = (0..6).map(|number| {
        let coordinator = lasting.clone();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            let who = format!("w{number}");
            loop {
                let asked = ask(&who, store, Wanted::Next(run));
                match coordinator.claim(asked).await.unwrap() {
                    Answer::Granted(grant) => {
                        assert!(coordinator.complete(&grant.claim).await.unwrap());
                        taken.push(grant.claim);
                    }
                    Answer::Done(standing) => break (taken, standing),
                    _ => tokio::task::yield_now().await,
                }
            }
        })
    });
    let mut tokens = BTreeMap::new();
    for worker in workers.collect::<Vec<_>>() {
        let (taken, standing) = worker.await.unwrap();
        assert_eq!((standing.done, standing.failed), (UNITS as u64, 0));
        for claim in taken {
            assert_eq!(
                tokens.insert(claim.resource, claim.token),
                None,
                "taken twice"
            );
        }
    }
    assert_eq!(tokens.len(), UNITS);
    assert!(tokens.values().all(|token| *token == 1));
}

/// One step of one of three workers.
#[derive(Debug, Clone)]
enum Step {
    Claim {
        who: usize,
        what: usize,
        lasts: bool,
        floor: u64,
        holding: bool,
    },
    Beat {
        who: usize,
        what: usize,
        lasts: bool,
    },
    End {
        who: usize,
        what: usize,
        how: u8,
    },
    Leave {
        who: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        5 => (0..3_usize, 0..3_usize, any::<bool>(), 0..9_u64, any::<bool>()).prop_map(
            |(who, what, lasts, floor, holding)| Step::Claim { who, what, lasts, floor, holding }
        ),
        2 => (0..3_usize, 0..3_usize, any::<bool>())
            .prop_map(|(who, what, lasts)| Step::Beat { who, what, lasts }),
        3 => (0..3_usize, 0..3_usize, 0..3_u8)
            .prop_map(|(who, what, how)| Step::End { who, what, how }),
        1 => (0..3_usize).prop_map(|who| Step::Leave { who }),
    ];
    prop::collection::vec(one, 0..40)
}

/// What the claim of a resource should be.
#[derive(Debug, Clone, Copy)]
struct Model {
    token: u64,
    holder: usize,
    held: bool,
    lasts: bool,
}

/// Whatever three workers do with three resources, the coordinator does what the model does.
async fn follows_the_model(pair: &Pair, store: StoreId, steps: &[Step]) {
    let names = ["a", "b", "c"];
    let mut model: BTreeMap<usize, Model> = BTreeMap::new();
    let mut last: BTreeMap<(usize, usize), Claim> = BTreeMap::new();
    let by = |lasts: bool| if lasts { &pair.lasting } else { &pair.fleeting };
    for step in steps {
        match *step {
            Step::Claim {
                who,
                what,
                lasts,
                floor,
                holding,
            } => {
                let mut asked = ask(names[who], store, one(what));
                asked.floor = floor;
                asked.holding = if holding {
                    vec![resource(what)]
                } else {
                    Vec::new()
                };
                let before = model.get(&what).copied();
                let is_free =
                    before.is_none_or(|it| !it.held || !it.lasts || (it.holder == who && !holding));
                let grant = claim(by(lasts), asked).await;
                assert_eq!(grant.is_some(), is_free, "{step:?} {before:?}");
                if let Some(Grant { claim, .. }) = grant {
                    let token = before.map_or(floor, |it| floor.max(it.token + 1));
                    assert_eq!(claim.token, token);
                    model.insert(
                        what,
                        Model {
                            token,
                            holder: who,
                            held: true,
                            lasts,
                        },
                    );
                    last.insert((who, what), claim);
                }
            }
            Step::Beat { who, what, lasts } => {
                let Some(claim) = last.get(&(who, what)) else {
                    continue;
                };
                let it = model.get_mut(&what).unwrap();
                let kept = it.held && it.token == claim.token;
                let claims = std::slice::from_ref(claim);
                let lost = by(lasts).heartbeat(&worker(names[who]), claims).await;
                assert_eq!(lost.unwrap().is_empty(), kept, "{step:?} {it:?}");
                if kept {
                    it.lasts = lasts;
                }
            }
            Step::End { who, what, how } => {
                let Some(claim) = last.get(&(who, what)) else {
                    continue;
                };
                let it = model.get_mut(&what).unwrap();
                let own = it.token == claim.token;
                let ended = match how {
                    0 => pair.lasting.complete(claim).await,
                    1 => pair.lasting.fail(claim, "cause").await,
                    _ => pair.lasting.release(claim).await,
                };
                assert_eq!(ended.unwrap(), own, "{step:?} {it:?}");
                if own {
                    it.held = false;
                }
            }
            Step::Leave { who } => {
                pair.lasting.leave(&worker(names[who])).await.unwrap();
                for it in model.values_mut().filter(|it| it.holder == who) {
                    it.held = false;
                }
            }
        }
    }
}

fn follows_the_model_by_chance(runtime: &tokio::runtime::Runtime, pair: &Pair, cases: u32) {
    let mut runner = TestRunner::new(Config {
        cases,
        ..Config::default()
    });
    let stores = AtomicU64::new(1000);
    runner
        .run(&steps(), |steps| {
            let store = stores.fetch_add(1, Ordering::Relaxed);
            runtime.block_on(follows_the_model(pair, fresh(store), &steps));
            Ok(())
        })
        .unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn file(path: &std::path::Path, term: Duration) -> Arc<dyn Coordinator> {
    let (environment, work) = (Arc::new(SystemEnvironment), Arc::new(InlineOffload));
    let opened = SqliteCoordinator::open(path, term, environment, work).await;
    Arc::new(opened.unwrap())
}

#[test]
fn a_file_obeys_the_laws_of_coordinators() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coordinator.sqlite");
    let runtime = runtime();
    let pair = runtime.block_on(async {
        Pair {
            lasting: file(&path, HOUR).await,
            fleeting: file(&path, Duration::ZERO).await,
        }
    });
    runtime.block_on(laws(&pair));
    follows_the_model_by_chance(&runtime, &pair, 64);
}

#[test]
fn a_file_that_is_no_coordinator_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coordinator.sqlite");
    std::fs::write(&path, vec![7; 4096]).unwrap();
    let (environment, work) = (Arc::new(SystemEnvironment), Arc::new(InlineOffload));
    let opened = SqliteCoordinator::open(&path, HOUR, environment, work);
    let error = runtime().block_on(opened).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Coordinator);
}

#[cfg(feature = "postgres")]
mod with_postgres {
    use backup_engine::coordinator::{PostgresCoordinator, PostgresOptions};

    use super::*;

    async fn database(address: &str, term: Duration) -> Arc<dyn Coordinator> {
        let mut options = PostgresOptions::new(address);
        options.term = term;
        Arc::new(PostgresCoordinator::connect(options).await.unwrap())
    }

    #[test]
    fn a_database_obeys_the_laws_of_coordinators_and_may_be_cut_off() {
        let Some(server) = postgres::Postgres::start() else {
            return;
        };
        let (address, runtime) = (server.address(), runtime());
        let pair = runtime.block_on(async {
            // Both create the tables at once.
            let (lasting, fleeting) =
                tokio::join!(database(&address, HOUR), database(&address, Duration::ZERO));
            Pair { lasting, fleeting }
        });
        runtime.block_on(laws(&pair));
        follows_the_model_by_chance(&runtime, &pair, 24);
        server.cut();
        let store = fresh(1 << 40);
        let claimed = runtime.block_on(claim(&pair.lasting, ask("a", store, one(1))));
        assert_eq!(claimed.unwrap().claim.token, 1, "over a new connection");
    }

    #[test]
    fn a_database_that_is_not_there_is_an_error_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = PostgresOptions::new(format!("host={} user=a", folder.path().display()));
        options.patience = Duration::from_millis(200);
        let refused = runtime().block_on(PostgresCoordinator::connect(options));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Coordinator);
    }
}
