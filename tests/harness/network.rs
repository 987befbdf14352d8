//! The network between engine and tenant: it takes its time, fails by plan, and lets people change
//! the tenant while a run goes on.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use backup_store::fault::{FaultPlan, Ruling};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{Request, Response};
use m365_simulator::Tenant;

use super::clock::Clock;
use super::guest::{Guest, lane_of};
use super::mix;
use super::people::{USER, change, move_out, shuffle};
use super::trouble::{Class, Trouble};
use super::truth::Truth;

/// The body of an answer on its way.
pub type BodyStream = BoxStream<'static, io::Result<Bytes>>;

/// What happens to the tenant at one request.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// So many things are done, by seed.
    Change(u64, u64),
    /// A message moves to another folder, by seed.
    Move(u64),
    /// What lies in the folder of this name moves to another one, by seed.
    MoveOut(&'static str, u64),
    /// All cursors given out so far are too old.
    ExpireCursors,
    /// What could not be read can be read again.
    Heal,
}

/// What the tenant goes through, by the number of the request before which it happens.
pub type Script = BTreeMap<u64, Step>;

/// What of the network outlives a life.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Requests so far.
    pub requests: u64,
    pub script: Script,
    /// What the tenant held, after each change.
    pub history: Vec<Arc<Truth>>,
    /// Paths of the contents that were fetched in this life.
    pub fetched: Vec<String>,
}

/// The network of one life.
pub struct Network {
    tenant: Tenant,
    plan: FaultPlan,
    /// How long a request takes, in milliseconds, about.
    latency_ms: u64,
    traffic: Mutex<Traffic>,
    /// What the service does wrong in this life.
    trouble: Option<Arc<Trouble>>,
    clock: Arc<Clock>,
    guest: Arc<Guest>,
}

impl Traffic {
    /// Does one thing to the tenant.
    pub fn act(&mut self, tenant: &Tenant, step: Step) {
        match step {
            Step::Change(seed, amount) => drop(change(tenant, seed, amount)),
            Step::Move(seed) => shuffle(tenant, seed),
            Step::MoveOut(name, seed) => move_out(tenant, name, seed),
            Step::ExpireCursors => {
                tenant.expire_mail_cursors(USER);
                tenant.expire_drive_cursors(USER);
            }
            Step::Heal => tenant.set_faults(m365_simulator::FaultPlan::default()),
        }
        self.history.push(Arc::new(Truth::of(tenant)));
    }

    /// Does everything that is still to come.
    pub fn act_all(&mut self, tenant: &Tenant) -> bool {
        let script = std::mem::take(&mut self.script);
        let any = !script.is_empty();
        for step in script.into_values() {
            self.act(tenant, step);
        }
        any
    }
}

impl Network {
    pub fn new(
        tenant: &Tenant,
        plan: FaultPlan,
        latency_ms: u64,
        traffic: Traffic,
        trouble: Option<Arc<Trouble>>,
        clock: Arc<Clock>,
        guest: Arc<Guest>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tenant: tenant.clone(),
            plan,
            latency_ms,
            traffic: Mutex::new(traffic),
            trouble,
            clock,
            guest,
        })
    }

    pub fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap()
    }

    /// Answers one request, late, by plan, and watches how it came.
    pub async fn handle(
        self: Arc<Self>,
        request: Request<Bytes>,
    ) -> io::Result<Response<BodyStream>> {
        let lane = lane_of(&request);
        let _under_way = self.guest.arrives(lane);
        let answer = self.clone().answer(request).await?;
        self.guest.hears(lane, answer.status(), answer.headers());
        Ok(answer)
    }

    async fn answer(self: Arc<Self>, request: Request<Bytes>) -> io::Result<Response<BodyStream>> {
        tokio::time::sleep(self.arrive()).await;
        let path = request.uri().path().to_owned();
        let host = request.uri().host().unwrap_or_default().to_owned();
        let trouble = self.trouble.as_ref();
        let trouble = trouble.filter(|trouble| trouble.strikes(&host, &path));
        let ruling = self.plan.rule();
        match ruling {
            Ruling::Stopped => return std::future::pending().await,
            Ruling::Fail => return Err(io::ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        if let Some(trouble) = trouble {
            if trouble.class == Class::ClockJump {
                self.clock.jump_by_lot(trouble.seed);
            }
            let instead = trouble.instead(&self.tenant, &self.traffic, &request);
            if let Some(answer) = instead.await {
                self.plan.note_other(format!("request {host} {path}"));
                return answer;
            }
        }
        let again = (ruling == Ruling::DoTwice).then(|| copy(&request));
        let mut answer = self.tenant.handle(request).await?;
        self.guest.is_served(answer.status(), &path);
        if let Some(again) = again {
            answer = self.tenant.handle(again).await?;
        }
        self.plan.note_other(format!("request {host} {path}"));
        match ruling {
            Ruling::DoThenStop => {
                self.plan.stop();
                return std::future::pending().await;
            }
            Ruling::DoThenFail => return Err(io::ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        let request_path = path.as_str();
        if is_content(request_path) {
            self.traffic().fetched.push(path.clone());
        }
        if let Some(trouble) = trouble.filter(|trouble| trouble.is_late()) {
            trouble.act(&self.tenant, &self.traffic, request_path);
        }
        let answer = answer.map(StreamExt::boxed);
        match trouble {
            Some(trouble) => trouble.afterwards(answer).await,
            None => Ok(answer),
        }
    }

    /// Counts a request, lets happen what is due before it, and says how long it takes.
    fn arrive(&self) -> Duration {
        let mut traffic = self.traffic();
        traffic.requests += 1;
        let number = traffic.requests;
        let later = traffic.script.split_off(&number.saturating_add(1));
        for step in std::mem::replace(&mut traffic.script, later).into_values() {
            traffic.act(&self.tenant, step);
        }
        let spread = mix(self.latency_ms, number) % (self.latency_ms / 2 + 1);
        Duration::from_millis(self.latency_ms / 2 + spread)
    }
}

/// Tells whether a path leads to the content of one item.
pub fn is_content(path: &str) -> bool {
    path.ends_with("/$value") || path.ends_with("/content")
}

fn copy(request: &Request<Bytes>) -> Request<Bytes> {
    let mut copy = Request::new(request.body().clone());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}
