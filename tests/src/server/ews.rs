//! EWS: Exchange Web Services, SOAP 1.1: GetFolder, FindFolder, FindItem and GetItem so far.

mod basic;
mod folders;
mod items;
mod operations;
#[cfg(test)]
mod tests;
mod xml;

use bytes::Bytes;
use http::Method;

use super::answer::{self, Answer, Outcome, Refusal};
use super::call::Call;
use super::{login, permissions};
use basic::Person;
use xml::{Node, escape};

pub(crate) use basic::Passwords;

pub(super) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(super) const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
pub(super) const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";
const ERRORS: &str = "http://schemas.microsoft.com/exchange/services/2006/errors";

/// Schema versions that requests may ask for.
const VERSIONS: [&str; 11] = [
    "Exchange2007",
    "Exchange2007_SP1",
    "Exchange2009",
    "Exchange2010",
    "Exchange2010_SP1",
    "Exchange2010_SP2",
    "Exchange2012",
    "Exchange2013",
    "Exchange2013_SP1",
    "Exchange2015",
    "Exchange2016",
];

/// Why a whole call, or one part of it, is refused: code and text.
#[derive(Debug)]
pub(super) struct SoapError {
    pub(super) code: &'static str,
    pub(super) text: String,
    /// Back-off named in the answer, in milliseconds.
    back_off: Option<u64>,
}

impl SoapError {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        let (text, back_off) = (text.into(), None);
        Self {
            code,
            text,
            back_off,
        }
    }
}

/// Answers one SOAP request.
pub(super) fn route(call: &Call) -> Outcome {
    if call.keys() != ["ews", "exchange.asmx"] {
        return Err(Refusal::new(404, "NotFound", "There is nothing here."));
    }
    if call.method != Method::POST {
        return Err(call.wrong_verb());
    }
    let by_password = basic::is_shown(call);
    let person = match by_password {
        true => Some(basic::person(call)?),
        false => {
            login::check_bearer(call, &call.tenant.home().ews)?;
            let person = login::person(&call.tenant, &call.headers);
            person.map(|id| Person {
                id,
                impersonates: false,
            })
        }
    };
    if call.tenant.lock().ews.turned_off {
        let text = "EWS is disabled for this tenant or application.";
        return Ok(answer::bytes(
            403,
            "text/plain",
            Bytes::from_static(text.as_bytes()),
        ));
    }
    if !by_password && !permitted(call) {
        return Ok(answer::empty(403));
    }
    Ok(match serve(call, person) {
        Ok(body) => soap(200, &body),
        Err(error) => fault(&error),
    })
}

/// Tells whether the token of a call opens EWS: an app's by its role, a person's by its scope.
fn permitted(call: &Call) -> bool {
    match permissions::scopes(call) {
        Some(scopes) => [".default", "EWS.AccessAsUser.All"]
            .iter()
            .any(|scope| scopes.contains(*scope)),
        None => call
            .tenant
            .lock()
            .app
            .permissions
            .contains("full_access_as_app"),
    }
}

/// Answers a request of an app, or of a person.
fn serve(call: &Call, person: Option<Person>) -> Result<String, SoapError> {
    let envelope = xml::parse(&call.body)?;
    let schema = |text: &str| SoapError::new("ErrorSchemaValidation", text);
    if !envelope.is(SOAP, "Envelope") {
        return Err(schema("The request is not a SOAP 1.1 envelope."));
    }
    let mut state = call.tenant.lock();
    if state.ews.busy.0 > 0 {
        state.ews.busy.0 -= 1;
        let mut error = SoapError::new(
            "ErrorServerBusy",
            "The server cannot service this request right now.",
        );
        error.back_off = Some(state.ews.busy.1);
        return Err(error);
    }
    let header = envelope.child(SOAP, "Header");
    let version = header
        .and_then(|header| header.child(TYPES, "RequestServerVersion"))
        .and_then(|version| version.attribute("Version"));
    if version.is_some_and(|version| !VERSIONS.contains(&version)) {
        return Err(SoapError::new(
            "ErrorInvalidServerVersion",
            "The version is not known.",
        ));
    }
    let impersonated = header
        .and_then(|header| header.child(TYPES, "ExchangeImpersonation"))
        .and_then(|node| node.child(TYPES, "ConnectingSID"))
        .and_then(|node| node.children.first())
        .map(Node::text);
    let acting = match person {
        Some(person) if impersonated.is_none() => Some(person.id),
        Some(person) if person.impersonates => impersonated,
        Some(_) => {
            return Err(SoapError::new(
                "ErrorImpersonationDenied",
                "The account does not have permission to impersonate the requested user.",
            ));
        }
        None => impersonated,
    };
    let Some(address) = acting else {
        return Err(SoapError::new(
            "ErrorImpersonateUserDenied",
            "ExchangeImpersonation SOAP header must be present for this type of OAuth token.",
        ));
    };
    if state.user(&address).is_none() {
        return Err(SoapError::new(
            "ErrorNonExistentMailbox",
            "The SMTP address has no mailbox associated with it.",
        ));
    }
    let request = envelope
        .child(SOAP, "Body")
        .and_then(|body| body.children.first())
        .filter(|request| request.namespace == MESSAGES)
        .ok_or_else(|| schema("The body holds no request."))?;
    operations::perform(&state, &address, request)
}

fn soap(code: u16, body: &str) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"{SOAP}\"><s:Header>\
         <h:ServerVersionInfo MajorVersion=\"15\" MinorVersion=\"20\" MajorBuildNumber=\"9000\" \
         MinorBuildNumber=\"1\" Version=\"V2018_01_08\" xmlns:h=\"{TYPES}\"/></s:Header>\
         <s:Body>{body}</s:Body></s:Envelope>"
    );
    answer::bytes(code, "text/xml; charset=utf-8", Bytes::from(text))
}

fn fault(error: &SoapError) -> Answer {
    let SoapError {
        code,
        text,
        back_off,
    } = error;
    let text = escape(text);
    let hint = back_off.map_or_else(String::new, |millis| {
        format!(
            "<t:MessageXml xmlns:t=\"{TYPES}\"><t:Value Name=\"BackOffMilliseconds\">{millis}\
             </t:Value></t:MessageXml>"
        )
    });
    let body = format!(
        "<s:Fault><faultcode xmlns:a=\"{TYPES}\">a:{code}</faultcode>\
         <faultstring xml:lang=\"en-US\">{text}</faultstring><detail>\
         <e:ResponseCode xmlns:e=\"{ERRORS}\">{code}</e:ResponseCode>\
         <e:Message xmlns:e=\"{ERRORS}\">{text}</e:Message>{hint}</detail></s:Fault>"
    );
    soap(500, &body)
}
