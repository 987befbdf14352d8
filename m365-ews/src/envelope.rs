//! The SOAP envelope: the header of a request, and an answer taken apart.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::operation::wire::Wire;
use crate::xml::{Element, Limits, Namespace, Reader, Writer};

pub(crate) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(crate) const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
pub(crate) const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";
pub(crate) const ERRORS: &str = "http://schemas.microsoft.com/exchange/services/2006/errors";

/// Writes a request of schema `version`, in the name of `impersonated` when given.
pub(crate) fn request<O: Wire>(operation: &O, version: &str, impersonated: Option<&str>) -> String {
    let mut out = Writer::default();
    out.open(
        "s:Envelope",
        &[("xmlns:s", SOAP), ("xmlns:m", MESSAGES), ("xmlns:t", TYPES)],
    );
    out.open("s:Header", &[]);
    out.empty("t:RequestServerVersion", &[("Version", version)]);
    if let Some(address) = impersonated {
        out.open("t:ExchangeImpersonation", &[])
            .open("t:ConnectingSID", &[]);
        out.leaf("t:PrimarySmtpAddress", address).close().close();
    }
    out.close().open("s:Body", &[]);
    operation.write(&mut out);
    out.finish()
}

/// What one response message says beside its payload.
#[derive(Debug, Default)]
struct Verdict {
    failed: bool,
    code: String,
    text: String,
    back_off: Option<Duration>,
    inner_code: Option<String>,
}

impl Verdict {
    /// Reads an element that says how it went; `false` when it is something else.
    fn read(&mut self, reader: &mut Reader<'_>, element: &Element) -> Result<bool> {
        match element.name.as_str() {
            "ResponseCode" => self.code = reader.text()?,
            "MessageText" | "Message" => self.text = reader.text()?,
            "MessageXml" => reader.children(|reader, value| {
                let text = reader.text()?;
                match value.attribute("Name") {
                    Some("BackOffMilliseconds") => {
                        self.back_off = text.trim().parse().ok().map(Duration::from_millis);
                    }
                    Some("InnerErrorResponseCode") => self.inner_code = Some(text),
                    _ => {}
                }
                Ok(())
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn into_error(self) -> Error {
        let error = Error::from_code(&self.code, &self.text).with_retry_after(self.back_off);
        // A busy server also hides behind a general failure.
        match self.inner_code.as_deref().map(crate::code::kind_of) {
            Some(ErrorKind::Throttled) => error.with_kind(ErrorKind::Throttled),
            _ => error,
        }
    }
}

/// Takes an answer apart: one outcome for each response message, in their order.
///
/// *Errors*: the fault, when the answer is one; of kind `Malformed` or `TooLarge`.
pub(crate) fn response<O: Wire>(document: &[u8], limits: Limits) -> Result<Vec<Result<O::Out>>> {
    let mut reader = Reader::new(document, limits)?;
    let mut outcomes = None;
    reader.children(|reader, element| {
        if !element.is(Namespace::Soap, "Envelope") {
            return Err(Error::malformed("the answer is no soap envelope"));
        }
        reader.children(
            |reader, element| match element.is(Namespace::Soap, "Body") {
                false => Ok(()),
                true => reader.children(|reader, element| {
                    if element.is(Namespace::Soap, "Fault") {
                        return Err(fault(reader)?);
                    }
                    let wanted = element.name.strip_suffix("Response") == Some(O::NAME);
                    if element.namespace == Namespace::Messages && wanted {
                        outcomes = Some(messages::<O>(reader)?);
                    }
                    Ok(())
                }),
            },
        )
    })?;
    outcomes.ok_or_else(|| Error::malformed("the answer does not belong to the request"))
}

fn messages<O: Wire>(reader: &mut Reader<'_>) -> Result<Vec<Result<O::Out>>> {
    let mut outcomes = Vec::new();
    reader.children(|reader, element| {
        if !element.is(Namespace::Messages, "ResponseMessages") {
            return Ok(());
        }
        reader.children(|reader, message| {
            let mut verdict = Verdict {
                failed: message.attribute("ResponseClass") == Some("Error"),
                ..Verdict::default()
            };
            let mut out = O::Out::default();
            reader.children(|reader, element| {
                if verdict.read(reader, element)? {
                    return Ok(());
                }
                O::read(reader, element, &mut out)
            })?;
            outcomes.push(if verdict.failed {
                Err(verdict.into_error())
            } else {
                Ok(out)
            });
            Ok(())
        })
    })?;
    Ok(outcomes)
}

/// Reads a fault into the error that it is.
fn fault(reader: &mut Reader<'_>) -> Result<Error> {
    let mut verdict = Verdict::default();
    let mut fault_code = String::new();
    reader.children(|reader, element| {
        match element.name.as_str() {
            "faultcode" => fault_code = reader.text()?,
            "faultstring" => verdict.text = reader.text()?,
            "detail" => reader.children(|reader, element| {
                verdict.read(reader, element)?;
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    if verdict.code.is_empty() {
        let local = fault_code.rsplit(':').next().unwrap_or_default();
        local.trim().clone_into(&mut verdict.code);
    }
    Ok(verdict.into_error())
}
