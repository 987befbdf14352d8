//! Device code: a person signs in on another device, while this program asks now and then.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oauth2::basic::BasicTokenResponse;
use oauth2::{HttpRequest, RequestTokenError};
use serde::Deserialize;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::exchange::Exchange;
use super::sign_in::with_offline_access;
use super::{IdentityError, SignIn, SignedIn};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Holds a sign-in that waits for a person on another device.
#[derive(Clone)]
pub struct DeviceAuthorization {
    device_code: Secret,
    user_code: String,
    verification_url: String,
    message: String,
    interval: Duration,
    expires_at: SystemTime,
}

#[derive(Deserialize)]
struct Answer {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    expires_in: u64,
    #[serde(default)]
    interval: Option<u64>,
    #[serde(default)]
    message: Option<String>,
}

impl DeviceAuthorization {
    /// Returns the code that the person types.
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// Returns the address that the person opens.
    pub fn verification_url(&self) -> &str {
        &self.verification_url
    }

    /// Returns what to tell the person, as the identity platform words it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the time until which the person must have signed in.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

impl fmt::Debug for DeviceAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The code of the person opens the account to whoever types it first: not for logs.
        f.debug_struct("DeviceAuthorization")
            .field("interval", &self.interval)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Says what one question whether the person has signed in came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DevicePoll {
    /// Not yet.
    Pending,
    /// Not yet, and the questions come too often.
    SlowDown,
    /// No answer came, or one of a passing fault.
    Unanswered,
}

/// Decides when to ask again; neither sleeps nor reads a clock.
///
/// *Source*: RFC 8628, section 3.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSchedule {
    interval: Duration,
    expires_at: SystemTime,
}

impl DeviceSchedule {
    /// Begins with the interval and the end that the identity platform names.
    pub fn new(authorization: &DeviceAuthorization) -> Self {
        Self {
            interval: authorization.interval,
            expires_at: authorization.expires_at,
        }
    }

    /// Returns how long to wait before the first question.
    pub fn first(&self) -> Duration {
        self.interval
    }

    /// Returns how long to wait after a question that was answered at `now`, or `None` when the
    /// person's time is over.
    pub fn after(&mut self, poll: DevicePoll, now: SystemTime) -> Option<Duration> {
        match poll {
            DevicePoll::Pending => {}
            DevicePoll::SlowDown => self.interval += SLOWER,
            DevicePoll::Unanswered => self.interval = (self.interval * 2).min(SLOWEST),
        }
        (now + self.interval < self.expires_at).then_some(self.interval)
    }
}

impl SignIn {
    /// Begins a sign-in on another device.
    ///
    /// `scopes` are of one service; `offline_access` is added.
    ///
    /// *Errors*: those of the identity platform and of the transport.
    pub async fn begin_device(&self, scopes: &[String]) -> Result<DeviceAuthorization> {
        let url = self.endpoint.address(&["oauth2", "v2.0", "devicecode"])?;
        let scope = with_offline_access(scopes).join(" ");
        let fields = [
            ("client_id", self.endpoint.client_id.as_str()),
            ("scope", scope.as_str()),
        ];
        let asked_at = self.endpoint.environment.now();
        let exchange = Exchange::new(Arc::clone(&self.endpoint.transport));
        let response = exchange.perform(form(&url, fields)?).await?;
        let answer: Answer = match response.status().is_success() {
            true => serde_json::from_slice(response.body()).map_err(|_| parse_failure()),
            false => Err(match serde_json::from_slice(response.body()) {
                Ok(answer) => RequestTokenError::ServerResponse(answer),
                Err(_) => parse_failure(),
            }),
        }
        .map_err(|failure| self.endpoint.explain(failure, &exchange))?;
        let interval = Duration::from_secs(answer.interval.unwrap_or(5).clamp(1, 300));
        let lifetime = Duration::from_secs(answer.expires_in).min(LONGEST_WAIT);
        Ok(DeviceAuthorization {
            device_code: Secret::new(answer.device_code),
            message: answer.message.unwrap_or_else(|| {
                let (url, code) = (&answer.verification_uri, &answer.user_code);
                format!("To sign in, open {url} in a browser and enter the code {code}.")
            }),
            user_code: answer.user_code,
            verification_url: answer.verification_uri,
            interval,
            expires_at: asked_at + lifetime,
        })
    }

    /// Waits until the person has signed in on the other device.
    ///
    /// *Errors*: [`ErrorKind::InteractionNeeded`] when the person declined or was too late; those
    /// of the identity platform. Passing faults are waited out.
    ///
    /// *Cancel safety*: the future may be dropped and the call repeated, until the person's answer
    /// was fetched.
    pub async fn wait_for_device(&self, device: &DeviceAuthorization) -> Result<SignedIn> {
        let mut schedule = DeviceSchedule::new(device);
        let mut wait = schedule.first();
        loop {
            tokio::time::sleep(wait).await;
            let poll = match self.ask_for_device(device).await {
                Ok(Ok(signed_in)) => return Ok(signed_in),
                Ok(Err(poll)) => poll,
                Err(error) if error.is_retryable() => DevicePoll::Unanswered,
                Err(error) => return Err(error),
            };
            let now = self.endpoint.environment.now();
            wait = schedule.after(poll, now).ok_or_else(|| {
                let message = "nobody signed in with the code before it expired";
                Error::new(ErrorKind::InteractionNeeded, message)
                    .with_next_step("begin the sign-in again, and finish it within its time")
            })?;
        }
    }

    /// Asks once whether the person has signed in, for callers with a loop of their own.
    ///
    /// *Errors*: as [`wait_for_device`](Self::wait_for_device), passing faults included.
    pub async fn ask_for_device(
        &self,
        device: &DeviceAuthorization,
    ) -> Result<std::result::Result<SignedIn, DevicePoll>> {
        let url = self.endpoint.token_address()?;
        let common = self.endpoint.common(None).await?;
        let own = [
            ("grant_type", DEVICE_GRANT),
            ("client_id", self.endpoint.client_id.as_str()),
            ("device_code", device.device_code.expose()),
        ];
        let common = common.iter().map(|(name, value)| (*name, value.as_str()));
        let exchange = Exchange::new(Arc::clone(&self.endpoint.transport));
        let asked_at = self.endpoint.environment.now();
        let response = exchange
            .perform(form(&url, own.into_iter().chain(common))?)
            .await?;
        let answer = if response.status().is_success() {
            serde_json::from_slice::<BasicTokenResponse>(response.body())
                .map_err(|_| parse_failure())
        } else {
            match serde_json::from_slice::<IdentityError>(response.body()) {
                Ok(error) => match error.error() {
                    "authorization_pending" => return Ok(Err(DevicePoll::Pending)),
                    "slow_down" => return Ok(Err(DevicePoll::SlowDown)),
                    _ => Err(RequestTokenError::ServerResponse(error)),
                },
                Err(_) => Err(parse_failure()),
            }
        };
        let grant = self.endpoint.granted(answer, asked_at, &exchange)?;
        Ok(Ok(grant.into()))
    }
}

fn parse_failure() -> super::endpoint::Failure {
    RequestTokenError::Other("not the answer that was asked for".to_owned())
}

fn form<'a>(
    url: &Url,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<HttpRequest> {
    let body = Zeroizing::new(
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish(),
    );
    http::Request::post(url.as_str())
        .header(http::header::ACCEPT, "application/json")
        .header(
            http::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .body(body.as_bytes().to_vec())
        .map_err(|_| Error::new(ErrorKind::Configuration, "the request could not be built"))
}

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What a wish to slow down adds to the interval; RFC 8628, section 3.5.
const SLOWER: Duration = Duration::from_secs(5);
/// The longest interval after unanswered questions.
const SLOWEST: Duration = Duration::from_secs(60);
/// The longest time a person is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{DevicePoll, DeviceSchedule};

    #[test]
    fn questions_grow_rarer_as_asked_and_end_in_time() {
        let mut schedule = DeviceSchedule {
            interval: Duration::from_secs(5),
            expires_at: UNIX_EPOCH + Duration::from_secs(100),
        };
        let seconds = Duration::from_secs;
        let mut after = |poll, at| schedule.after(poll, UNIX_EPOCH + seconds(at));
        assert_eq!(after(DevicePoll::Pending, 5), Some(seconds(5)));
        assert_eq!(after(DevicePoll::SlowDown, 10), Some(seconds(10)));
        assert_eq!(after(DevicePoll::Pending, 20), Some(seconds(10)));
        assert_eq!(after(DevicePoll::Unanswered, 30), Some(seconds(20)));
        assert_eq!(after(DevicePoll::Pending, 79), Some(seconds(20)));
        assert_eq!(after(DevicePoll::Pending, 80), None);
    }
}
