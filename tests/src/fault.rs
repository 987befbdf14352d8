//! Faults: what goes wrong, where, how often; the same every time for a seed.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Response;

use crate::server::answer::{self, Answer, ByteStream, Refusal};
use crate::server::call::Call;
use crate::tenant::urls::Door;
use crate::tenant::{Tenant, ids};

/// What happens to a request that a rule hits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// 429 with `Retry-After` in seconds, or without.
    Throttled(Option<u64>),
    /// 503 without `Retry-After`.
    Unavailable,
    /// 500 with an empty body.
    EmptyError,
    /// 502 with a page of HTML, as a gateway sends it.
    HtmlError,
    /// The connection breaks before an answer; the service did nothing.
    Reset,
    /// The service does what was asked, but the connection breaks before the answer.
    LostAnswer,
    /// The body ends in a broken connection after this many bytes.
    CutBody(usize),
    /// 410: the delta token is too old.
    ExpiredToken,
    /// 500 `ErrorCorruptData`: the item cannot be read.
    CorruptItem,
    /// 401, as if the token had been revoked.
    Unauthorized,
    /// Another status with a code, in the service's error style.
    Refused(u16, String),
    /// A request for a part is answered with the whole.
    IgnoredRange,
    /// The answer comes later.
    Slow(Duration),
}

/// One rule: which requests, which of them, what happens.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    route: String,
    containing: Option<String>,
    skip: u64,
    count: Option<u64>,
    probability: f64,
    fault: Fault,
    /// Requests that matched so far.
    matched: u64,
    hits: u64,
}

impl FaultRule {
    /// Creates a rule for every request whose route fits.
    ///
    /// *Shape*: a route as [`Counters`](crate::Counters) names it; `*` stands for anything.
    pub fn new(route: impl Into<String>, fault: Fault) -> Self {
        Self {
            route: route.into(),
            containing: None,
            skip: 0,
            count: None,
            probability: 1.0,
            fault,
            matched: 0,
            hits: 0,
        }
    }

    /// Restricts the rule to requests whose path holds this text, such as an item's id.
    #[must_use]
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.containing = Some(text.into());
        self
    }

    /// Lets the first `requests` that fit pass.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Ends the rule after `hits`.
    #[must_use]
    pub fn times(mut self, hits: u64) -> Self {
        self.count = Some(hits);
        self
    }

    /// Hits only so many of the requests that fit, between 0 and 1; which, the seed decides.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }
}

/// What goes wrong in a tenant; the first rule that hits decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultPlan {
    seed: u64,
    rules: Vec<FaultRule>,
}

impl FaultPlan {
    /// Creates a plan in which nothing goes wrong.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rules: Vec::new(),
        }
    }

    /// Adds a rule.
    #[must_use]
    pub fn with(mut self, rule: FaultRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Finds the fault of a request, and counts it.
    fn strike(&mut self, route: &str, path: &str) -> Option<Fault> {
        for (place, rule) in self.rules.iter_mut().enumerate() {
            let fits = matches(&rule.route, route)
                && rule
                    .containing
                    .as_ref()
                    .is_none_or(|text| path.contains(text.as_str()));
            if !fits || rule.count.is_some_and(|count| rule.hits >= count) {
                continue;
            }
            rule.matched += 1;
            let line = rule.matched.wrapping_add((place as u64) << 48);
            let lot = ids::number(self.seed, "fault", line) >> 11;
            // 53 bits make every number between 0 and 1 that a float tells apart.
            let lot = lot as f64 / (1_u64 << 53) as f64;
            if rule.matched > rule.skip && lot < rule.probability {
                rule.hits += 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }
}

impl Tenant {
    /// Replaces what goes wrong; [`FaultPlan::default`] ends all faults.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.lock().faults = plan;
    }

    /// Returns how many requests a fault has hit since the plan was set.
    pub fn faults_hit(&self) -> u64 {
        self.lock().faults.rules.iter().map(|rule| rule.hits).sum()
    }

    /// Finds what goes wrong with a request.
    pub(crate) fn strike(&self, call: &Call) -> Option<Fault> {
        let route = crate::counters::Counters::full_name(call.door, &call.route);
        let path = call.segments.join("/");
        self.lock().faults.strike(&route, &path)
    }
}

/// Answers in place of the service, where the fault asks for that.
pub(crate) fn instead(call: &Call, fault: &Fault) -> Option<io::Result<Answer>> {
    let refusal = match fault {
        Fault::Reset => return Some(Err(broken())),
        Fault::EmptyError => return Some(Ok(answer::empty(500))),
        Fault::HtmlError => {
            let page = "<html><body><h1>502 Bad Gateway</h1></body></html>";
            return Some(Ok(answer::bytes(502, "text/html", Bytes::from(page))));
        }
        Fault::Throttled(wait) => {
            let text = "Application is over its MailboxConcurrency limit.";
            let refusal = Refusal::new(429, "ApplicationThrottled", text);
            match wait {
                Some(seconds) => refusal.with_header("retry-after", seconds.to_string()),
                None => refusal,
            }
        }
        Fault::Unavailable => {
            Refusal::new(503, "serviceNotAvailable", "The service is unavailable.")
        }
        Fault::CorruptItem => Refusal::new(500, "ErrorCorruptData", "Data is corrupt."),
        Fault::Unauthorized => Refusal::new(
            401,
            "InvalidAuthenticationToken",
            "Access token has expired.",
        )
        .with_header("www-authenticate", "Bearer realm=\"\""),
        Fault::Refused(status, code) => Refusal::new(*status, code, "Refused by fault plan."),
        Fault::ExpiredToken if call.door == Door::Graph => crate::server::mail::expired(call),
        Fault::ExpiredToken
        | Fault::LostAnswer
        | Fault::CutBody(_)
        | Fault::IgnoredRange
        | Fault::Slow(_) => {
            return None;
        }
    };
    Some(Ok(refusal.into_answer(call)))
}

/// Does to a finished answer what the fault asks for.
pub(crate) fn afterwards(fault: Option<&Fault>, answer: Answer) -> io::Result<Answer> {
    match fault {
        Some(Fault::LostAnswer) => Err(broken()),
        Some(Fault::CutBody(bytes)) => Ok(cut(answer, *bytes)),
        _ => Ok(answer),
    }
}

fn cut(answer: Answer, bytes: usize) -> Answer {
    let (head, body) = answer.into_parts();
    let mut left = bytes;
    let pieces = body.map(move |piece| {
        let mut piece = piece?;
        if left == 0 {
            return Err(broken());
        }
        piece.truncate(left);
        left -= piece.len();
        Ok(piece)
    });
    // Whatever the length of the body, it ends in an error.
    let end = futures_util::stream::once(async { Err(broken()) });
    Response::from_parts(head, ByteStream::new(pieces.chain(end)))
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "connection reset by fault plan",
    )
}

/// Tells whether a route fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, route: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| route.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for piece in pieces {
        open = piece.is_empty();
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    open || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        assert!(matches("*", "GET /users"));
        assert!(matches("GET /users/*", "GET /users/{id}/messages"));
        assert!(matches("*/$value", "GET /users/{id}/messages/{id}/$value"));
        assert!(!matches("GET /users", "GET /users/{id}"));
        assert!(!matches("*/delta", "GET /users/{id}/delta/x"));
    }

    #[test]
    fn a_rule_skips_hits_and_ends() {
        let rule = FaultRule::new("GET /users", Fault::Unavailable)
            .after(1)
            .times(2);
        let mut plan = FaultPlan::new(1).with(rule);
        let struck: Vec<bool> = (0..5)
            .map(|_| plan.strike("GET /users", "").is_some())
            .collect();
        assert_eq!(struck, [false, true, true, false, false]);
    }

    #[test]
    fn probability_hits_about_as_many_as_it_says() {
        let rule = FaultRule::new("*", Fault::Reset).with_probability(0.25);
        let mut plan = FaultPlan::new(7).with(rule);
        let hits = (0..1000)
            .filter(|_| plan.strike("GET /users", "").is_some())
            .count();
        assert!((200..300).contains(&hits), "{hits} of 1000");
    }
}
