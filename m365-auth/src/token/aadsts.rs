//! AADSTS codes: what the identity platform's numbers mean, and what a person can do about each.
//!
//! *Source*: the identity platform's reference of error codes (04f6554, 2024-04) and its pages on
//! the single flows.

use crate::error::ErrorKind;
use crate::error::ErrorKind::{
    Configuration, CredentialRefused, InteractionNeeded, Service, Throttled,
};

/// What one code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) kind: ErrorKind,
    pub(super) cause: &'static str,
    pub(super) next: &'static str,
}

/// Returns what a code means, if it is a known one.
pub(super) fn meaning(code: u64) -> Option<Meaning> {
    TABLE
        .iter()
        .find(|(codes, ..)| codes.contains(&code))
        .map(|(_, kind, cause, next)| Meaning {
            kind: *kind,
            cause,
            next,
        })
}

/// Finds the codes that a description names, such as 65004 in `AADSTS65004: …`.
pub(super) fn codes_in(text: &str) -> Vec<u64> {
    text.split("AADSTS")
        .skip(1)
        .filter_map(|rest| {
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            rest.get(..end.min(12))?.parse().ok()
        })
        .take(MAX_CODES)
        .collect()
}

/// The most codes taken from one description.
const MAX_CODES: usize = 8;

type Row = (&'static [u64], ErrorKind, &'static str, &'static str);

const SIGN_IN: &str = "sign in again, in a browser, with the account that the backup uses";
const NEW_SECRET: &str = "create a new client secret for the application and put its value (not \
                          its id) into the configuration";
const CHECK_IDS: &str = "check the tenant id, the client id and the cloud";
const REGISTRATION: &str = "compare the application's registration with this program's settings";
const WAIT: &str = "wait a few minutes and try again";
const ADMIN: &str = "ask an administrator of the tenant to look at the sign-in logs and its \
                     conditional access policies";

const TABLE: &[Row] = &[
    (
        &[7_000_215],
        CredentialRefused,
        "the client secret is wrong",
        NEW_SECRET,
    ),
    (
        &[7_000_222],
        CredentialRefused,
        "the client secret has expired",
        NEW_SECRET,
    ),
    (
        &[7_000_112, 7_000_113],
        CredentialRefused,
        "the application is disabled",
        "ask an administrator to enable the application in the tenant",
    ),
    (
        &[700_016],
        CredentialRefused,
        "the application is not known in this tenant",
        CHECK_IDS,
    ),
    (
        &[700_024],
        CredentialRefused,
        "the client assertion is outside its time; check the clock",
        "set the clock of this machine",
    ),
    (
        &[700_027],
        CredentialRefused,
        "the signature of the client assertion does not hold",
        "register the certificate that is configured here with the application, and check that \
         its key belongs to it",
    ),
    (
        &[700_021, 700_023, 50_027],
        CredentialRefused,
        "the client assertion is not for this application or this endpoint",
        CHECK_IDS,
    ),
    (
        &[700_211, 700_212, 700_213, 700_2138],
        CredentialRefused,
        "no federated credential of the application matches the federated token",
        "compare issuer, subject and audience of the federated credential with those of the token",
    ),
    (
        &[7_000_218],
        CredentialRefused,
        "the request holds no client credential",
        "configure a secret or a certificate, or allow public client flows for the application",
    ),
    (
        &[700_025],
        CredentialRefused,
        "a public client may not send a credential",
        "take the secret or certificate out of the configuration, or register the redirect \
         address under the web platform",
    ),
    (
        &[90_002],
        Configuration,
        "the tenant was not found",
        CHECK_IDS,
    ),
    (
        &[90_038, 900_439, 900_432],
        Configuration,
        "the tenant lives in another cloud",
        "choose the cloud in which the tenant lives",
    ),
    (
        &[50_194],
        Configuration,
        "the application is for one tenant; name that tenant",
        "put the tenant's id into the configuration",
    ),
    (
        &[9_001_023, 900_023, 50_059],
        Configuration,
        "a tenant id or domain is needed, not a common endpoint",
        "put the tenant's id into the configuration",
    ),
    (
        &[500_011],
        Configuration,
        "the service was not found in this tenant",
        "check the cloud, and that the tenant has a licence for the service",
    ),
    (
        &[50_011, 500_112],
        Configuration,
        "the redirect address is not one of the application's",
        "add the redirect address to the application, on the platform for mobile and desktop \
         applications",
    ),
    (
        &[70_011, 700_022, 1_002_012, 70_003, 70_001, 700_005, 501_481],
        Configuration,
        "the request asks for something that this endpoint does not give",
        REGISTRATION,
    ),
    (
        &[650_052, 650_057, 650_053, 650_056],
        Configuration,
        "the application has no access to this service",
        "add a permission of the service to the application, and have an administrator consent",
    ),
    (
        &[90_014, 900_144, 900_561],
        Configuration,
        "the request lacks a parameter",
        REGISTRATION,
    ),
    (
        &[
            53_000, 53_001, 53_002, 53_003, 53_004, 530_032, 530_003, 530_034, 53_011,
        ],
        InteractionNeeded,
        "conditional access forbids it",
        ADMIN,
    ),
    (
        &[65_001, 90_094, 90_093, 65_005],
        InteractionNeeded,
        "an administrator must consent first",
        "open the address for admin consent as an administrator of the tenant",
    ),
    (
        &[65_004],
        InteractionNeeded,
        "the person declined to consent",
        "sign in again and accept, or ask an administrator to consent for everybody",
    ),
    (
        &[50_072, 50_074, 50_076, 50_078, 50_079, 500_121],
        InteractionNeeded,
        "a second factor is needed",
        SIGN_IN,
    ),
    (
        &[50_105],
        InteractionNeeded,
        "the account is not assigned to the application",
        "ask an administrator to assign the account to the application",
    ),
    (
        &[50_126, 50_034, 50_056, 50_020],
        InteractionNeeded,
        "the account or its password is not known in this tenant",
        SIGN_IN,
    ),
    (
        &[50_057, 50_053],
        InteractionNeeded,
        "the account is disabled or locked",
        "ask an administrator to enable the account",
    ),
    (
        &[70_019, 70_020, 54_005, 70_000, 54_006, 900_482],
        InteractionNeeded,
        "the code has expired or was used before",
        "begin the sign-in again, and finish it within its time",
    ),
    (
        &[
            16_000, 50_058, 50_097, 50_125, 50_140, 50_158, 50_173, 70_008, 70_043, 70_044,
            700_003, 700_020, 700_081, 700_082, 700_084, 50_132, 50_133, 50_144, 50_055,
        ],
        InteractionNeeded,
        "a person must sign in again",
        SIGN_IN,
    ),
    (
        &[90_055],
        Throttled,
        "the tenant asks for too many tokens",
        WAIT,
    ),
    (
        &[50_196],
        Throttled,
        "the same token was asked for in a loop",
        "stop other programs that use the same application, and wait some minutes",
    ),
    (
        &[
            50_033, 50_087, 90_006, 90_012, 90_024, 90_033, 90_090, 90_020, 90_036, 50_089,
        ],
        Service,
        "the identity platform has a passing fault",
        WAIT,
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{TABLE, codes_in, meaning};

    #[test]
    fn no_code_has_two_meanings_and_every_row_says_what_to_do() {
        let mut seen = BTreeSet::new();
        for (codes, _, cause, next) in TABLE {
            assert!(!cause.is_empty() && !next.is_empty() && !next.ends_with('.'));
            for code in *codes {
                assert!(seen.insert(code), "{code} twice");
                assert_eq!(meaning(*code).unwrap().cause, *cause);
            }
        }
        assert!(seen.len() > 80, "{}", seen.len());
        assert_eq!(meaning(1), None);
    }

    #[test]
    fn codes_are_found_in_descriptions() {
        assert_eq!(
            codes_in("AADSTS65004: The user declined. AADSTS1"),
            [65_004, 1]
        );
        assert_eq!(
            codes_in("AADSTS: AADSTSx AADSTS99999999999999999999"),
            [999_999_999_999]
        );
        assert!(codes_in(&"AADSTS1 ".repeat(1_000)).len() <= 8);
    }
}
