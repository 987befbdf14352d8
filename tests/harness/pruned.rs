//! A prune beside a run: it sweeps what the run has found in the store and counts on.
//!
//! Files are stored, then deleted, and their snapshot is to be forgotten; they come back, a run finds
//! their content in the store, and at that moment a prune on another machine removes it and fences
//! the run.

use std::sync::Arc;
use std::time::Duration;

use backup_store::fault::{FaultPlan, SimulatedDisk};
use backup_store::{Backend, Fencing, PruneOptions, RepackOptions, SnapshotId};
use m365_simulator::Tenant;
use m365_simulator::tenant::drive::{Content, FileTimes, NameConflict};

use super::clock::{Clock, TrueTime};
use super::judge::judge;
use super::life::live;
use super::points::{complete, first_backup};
use super::scenario::Scenario;
use super::world::{Template, World};
use super::{mix, people};

/// Plays runs with a prune at every tenth of a second of them; returns how many.
///
/// *Errors*: what was lost, and when the prune was.
pub async fn play(template: &Template, seed: u64) -> Result<u64, String> {
    let start = prepare(template, seed).await;
    let manner = Scenario::First.manner(seed);
    let length = {
        let mut world = start.fork();
        let life = live(template, &mut world, &manner, FaultPlan::new(), seed).await;
        complete(life.report.as_ref())?;
        life.elapsed
    };
    let expected = first_backup(template, &start.tenant, &manner, seed).await;
    let (mut runs, mut fenced) = (0, 0);
    let mut at = STEP / 2;
    while at < length {
        let mut world = start.fork();
        let forget = world.seen.keys().copied().collect::<Vec<_>>();
        let forget = forget_oldest(template, &world, &forget).await;
        let backend: Arc<dyn Backend> = Arc::new(world.memory.clone());
        let now_ms = world.now_ms;
        let prune = async {
            tokio::time::sleep(at).await;
            let clock = Clock::new(TrueTime::from(now_ms), mix(seed, runs));
            let store = template.open(backend.clone(), clock).await;
            let mut options = PruneOptions::new();
            options.forget = [forget].into();
            options.fencing = Fencing::All;
            options.repack = Some(RepackOptions {
                below_percent: 100,
                spool_dir: "/prune".into(),
            });
            let disk = SimulatedDisk::new(FaultPlan::new());
            let store = store.and_then(|store| store.on_disk(&disk));
            let store = store.map_err(|cause| cause.to_string())?;
            let report = store.prune(&options, &|_| {}).await;
            report.map_err(|cause| format!("the prune fails: {cause}"))
        };
        world.seen.remove(&forget);
        let run = live(template, &mut world, &manner, FaultPlan::new(), seed);
        let (life, pruned) = tokio::join!(run, prune);
        let words = |cause: String| format!("pruned after {at:?}, seed {seed}: {cause}");
        pruned.map_err(words)?;
        complete(life.report.as_ref()).map_err(words)?;
        let leases = world.memory.list("leases/").await;
        fenced += u64::from(leases.map_err(|cause| cause.to_string())?.len() > LEASES);
        let verdict = judge(template, &mut world, &life.interval).await;
        let verdict = verdict.map_err(words)?;
        if verdict.newest != expected {
            return Err(words("it is not what a first backup would be".to_owned()));
        }
        runs += 1;
        at += STEP;
    }
    match fenced {
        0 => Err(format!("no run of {runs} was fenced, seed {seed}")),
        _ => Ok(runs),
    }
}

const STEP: Duration = Duration::from_millis(100);
/// Of the two runs before, and of one that is left alone.
const LEASES: usize = 3;

/// A store with two snapshots of the drive: the first holds the files, the second none.
async fn prepare(template: &Template, seed: u64) -> World {
    let tenant = people::tiny(seed);
    tenant.remove_mailbox(people::USER);
    let files: Vec<Vec<u8>> = (0..5)
        .map(|number| mix(seed, number).to_le_bytes().repeat(40))
        .collect();
    let ids = put(&tenant, &files);
    let mut world = template.world(&tenant);
    let manner = Scenario::First.manner(seed);
    let backup = async |world: &mut World| {
        let life = live(template, world, &manner, FaultPlan::new(), seed).await;
        complete(life.report.as_ref()).unwrap();
        judge(template, world, &life.interval).await.unwrap();
    };
    backup(&mut world).await;
    world.tenant.with_drive(people::USER, |drive| {
        for id in &ids {
            drive.delete(id).unwrap();
        }
    });
    world.note();
    backup(&mut world).await;
    put(&world.tenant, &files);
    world.note();
    world
}

fn put(tenant: &Tenant, files: &[Vec<u8>]) -> Vec<String> {
    let put = |drive: &mut m365_simulator::tenant::drive::Drive| {
        let root = drive.root().to_owned();
        let mut ids = Vec::new();
        for (number, bytes) in files.iter().enumerate() {
            let content = Arc::new(Content::from_bytes(bytes.clone()));
            let name = format!("file {number}.bin");
            let times = FileTimes::both(1_700_000_000_000);
            let id = drive.put_file(&root, &name, content, NameConflict::Rename, times);
            ids.push(id.unwrap().0);
        }
        ids
    };
    tenant.with_drive(people::USER, put).unwrap()
}

/// The older of the two snapshots.
async fn forget_oldest(template: &Template, world: &World, ids: &[SnapshotId]) -> SnapshotId {
    let backend: Arc<dyn Backend> = Arc::new(world.memory.clone());
    let clock = Clock::new(TrueTime::from(world.now_ms), 3);
    let store = template.open(backend, clock).await.unwrap();
    let entries = store.snapshots().await.unwrap();
    assert_eq!(entries.len(), ids.len());
    let oldest = entries.iter().min_by_key(|entry| entry.snapshot.sequence);
    oldest.unwrap().id
}
