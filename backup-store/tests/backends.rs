//! Wrappers of backends: they conform, and each does the one thing it is for.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use backup_store::backend::{
    Backend, BackendRetry, Bandwidth, BandwidthBackend, CountingBackend, MemoryBackend, ObjectName,
    Put, RetryBackend,
};
use backup_store::conformance::check;
use backup_store::fault::{Fault, FaultBackend, FaultPlan, SeededEnvironment};
use backup_store::{Error, ErrorKind};
use bytes::Bytes;
use tokio::time::Instant;

fn memory() -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::new())
}

fn retrying(inner: Arc<dyn Backend>) -> RetryBackend {
    let environment = Arc::new(SeededEnvironment::new(7));
    RetryBackend::new(inner, BackendRetry::default(), environment)
}

fn name(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_wrapper_conforms() {
    check(&FaultBackend::new(memory(), FaultPlan::new()))
        .await
        .unwrap();
    check(&retrying(memory())).await.unwrap();
    check(&CountingBackend::new(memory())).await.unwrap();
    let limit = Bandwidth::new(Some(1000), Some(1000));
    check(&BandwidthBackend::new(memory(), limit))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_and_reported_as_taken() {
    let plan = FaultPlan::new()
        .with(0, Fault::AnswerLost)
        .with_flaky_reads(3);
    let backend = retrying(Arc::new(FaultBackend::new(memory(), plan.clone())));
    let put = backend.put_new(&name("a"), Bytes::from_static(b"x")).await;
    assert_eq!(put.unwrap(), Put::AlreadyExists);
    for _ in 0..9 {
        assert_eq!(backend.get(&name("a"), None).await.unwrap(), "x");
    }
    assert_eq!(plan.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn retries_are_bounded_patient_and_only_for_what_may_pass() {
    let plan = FaultPlan::new().with_flaky_reads(1);
    let begun = Instant::now();
    let backend = retrying(Arc::new(FaultBackend::new(memory(), plan)));
    let error = backend.list("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    // 0.5 + 1 + 2 + 4 + 8 seconds, each between its half and its whole.
    let waited = begun.elapsed();
    let (half, whole) = (Duration::from_millis(7750), Duration::from_millis(15_500));
    assert!(half <= waited && waited <= whole, "{waited:?}");

    let plan = FaultPlan::new().with(0, Fault::Full);
    let backend = retrying(Arc::new(FaultBackend::new(memory(), plan.clone())));
    let begun = Instant::now();
    let error = backend.put_new(&name("a"), Bytes::new()).await.unwrap_err();
    assert_eq!((error.kind(), plan.count()), (ErrorKind::StorageFull, 1));
    assert!(
        error.to_string().contains("object a: no space left"),
        "{error}"
    );
    let missing = backend.get(&name("b"), None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(begun.elapsed().is_zero(), "neither is worth a wait");
}

/// A backend that asks its callers to wait.
#[derive(Debug)]
struct Busy(Duration);

#[async_trait::async_trait]
impl Backend for Busy {
    async fn put_new(&self, _: &ObjectName, _: Bytes) -> backup_store::Result<Put> {
        Err(self.error())
    }
    async fn get(
        &self,
        _: &ObjectName,
        _: Option<std::ops::Range<u64>>,
    ) -> backup_store::Result<Bytes> {
        Err(self.error())
    }
    async fn list(&self, _: &str) -> backup_store::Result<Vec<backup_store::ObjectInfo>> {
        Err(self.error())
    }
    async fn delete(&self, _: &ObjectName) -> backup_store::Result<()> {
        Err(self.error())
    }
    async fn probe(&self) -> backup_store::Result<backup_store::Capabilities> {
        Err(self.error())
    }
}

impl Busy {
    fn error(&self) -> Error {
        Error::new(ErrorKind::Backend, "busy").with_retry_after(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_backend_asks_for_is_kept_within_reason() {
    for (asked, waits) in [(10, 5 * 10), (3600, 5 * 60)] {
        let backend = retrying(Arc::new(Busy(Duration::from_secs(asked))));
        let begun = Instant::now();
        backend.delete(&name("a")).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), waits, "asked for {asked} s");
    }
}

#[tokio::test(start_paused = true)]
async fn bandwidth_is_kept_on_average_after_a_seconds_worth() {
    let limit = Bandwidth::new(Some(1000), Some(500));
    let backend = BandwidthBackend::new(memory(), limit);
    let begun = Instant::now();
    for number in 0..11 {
        let bytes = Bytes::from(vec![0; 1000]);
        backend
            .put_new(&name(&format!("a{number}")), bytes)
            .await
            .unwrap();
    }
    let sent = begun.elapsed().as_secs_f64();
    assert!(
        (8.9..=10.1).contains(&sent),
        "11 kB at 1 kB/s took {sent} s"
    );
    let begun = Instant::now();
    for number in 0..4 {
        backend
            .get(&name(&format!("a{number}")), None)
            .await
            .unwrap();
    }
    let read = begun.elapsed().as_secs_f64();
    assert!(
        (4.9..=6.1).contains(&read),
        "4 kB at 0.5 kB/s took {read} s"
    );
    let begun = Instant::now();
    let unlimited = BandwidthBackend::new(memory(), Bandwidth::default());
    unlimited
        .put_new(&name("b"), Bytes::from(vec![0; 1 << 20]))
        .await
        .unwrap();
    assert!(begun.elapsed().is_zero());
}

#[tokio::test]
async fn requests_and_bytes_are_counted_by_operation() {
    let plan = FaultPlan::new().with(1, Fault::Refused);
    let backend = CountingBackend::new(Arc::new(FaultBackend::new(memory(), plan)));
    let other = backend.clone();
    other
        .put_new(&name("a"), Bytes::from(vec![0; 10]))
        .await
        .unwrap();
    other
        .put_new(&name("b"), Bytes::from(vec![0; 10]))
        .await
        .unwrap_err();
    backend.get(&name("a"), Some(2..7)).await.unwrap();
    backend.list("").await.unwrap();
    backend.delete(&name("a")).await.unwrap();
    let counts = backend.counts();
    let of =
        |count: backup_store::backend::RequestCount| (count.requests, count.failed, count.bytes);
    assert_eq!(of(counts.put), (2, 1, 10));
    assert_eq!(of(counts.get), (1, 0, 5));
    assert_eq!(of(counts.list), (1, 0, 1));
    assert_eq!(of(counts.delete), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_machine_does_nothing_more_and_a_late_put_lands_once() {
    let memory = MemoryBackend::new();
    let plan = FaultPlan::new().with(1, Fault::StopAfter);
    let backend = FaultBackend::new(Arc::new(memory.clone()), plan.clone());
    backend
        .put_new(&name("a"), Bytes::from_static(b"1"))
        .await
        .unwrap();
    let (b, c) = (name("b"), name("c"));
    tokio::select! {
        () = plan.stopped() => {}
        _ = backend.put_new(&b, Bytes::from_static(b"2")) => panic!("it came back"),
    }
    let never = backend.put_new(&c, Bytes::new());
    assert!(
        tokio::time::timeout(Duration::from_secs(9), never)
            .await
            .is_err()
    );
    let names = |listed: Vec<backup_store::ObjectInfo>| -> Vec<String> {
        listed.iter().map(|info| info.name.to_string()).collect()
    };
    assert_eq!(names(memory.list("").await.unwrap()), ["a", "b"]);
    let late = plan.effects();
    memory.delete(&name("a")).await.unwrap();
    memory.delete(&name("b")).await.unwrap();
    let plan = FaultPlan::new()
        .with_late(1, late[0].clone())
        .with_late(99, late[1].clone())
        .with_slow_lists(Duration::from_secs(3));
    let backend = FaultBackend::new(Arc::new(memory.clone()), plan);
    backend
        .put_new(&name("b"), Bytes::from_static(b"mine"))
        .await
        .unwrap();
    assert_eq!(names(memory.list("").await.unwrap()), ["b"]);
    backend.delete(&name("x")).await.unwrap();
    assert_eq!(names(memory.list("").await.unwrap()), ["a", "b"]);
    backend.land_all().await.unwrap();
    assert_eq!(memory.get(&name("b"), None).await.unwrap(), "mine");
    let begun = Instant::now();
    backend.list("").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}
