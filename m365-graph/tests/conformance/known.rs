//! What is known of the published samples: where they are not what they should be, and why. An
//! entry that is no longer true fails its test.

/// Bodies of requests that no call of the client sends, and why.
pub const NOT_SENT: &[(&str, &str)] = &[
    ("g233", "a search folder, of which a backup makes none"),
    ("g237", "its content is a placeholder, no base64"),
    ("g238", "its content is cut, so that it is no base64"),
    (
        "g239",
        "an attached item; the client attaches files, and items inside of MIME",
    ),
];

/// Samples of operations of the client whose answers hold no JSON object, and what they hold.
pub const BARE: &[(&str, &str)] = &[
    ("g000", "204, nothing"),
    ("g007", "204, nothing"),
    ("g011", "204, nothing"),
    ("g039", "302, the address of the content"),
    (
        "g115",
        "a number, of `/users/$count`, which is filed under one user",
    ),
    ("g144", "MIME"),
    ("g237", "201, left out"),
];

/// Where samples differ from the description: why, and in what. `#` stands for any place of a list.
pub const DIFFERENCES: &[(&str, &[&str])] = &[
    (
        "documented in 2026, and not in the metadata of that time yet",
        &[
            "g015 answer /value/#/parentMailboxUrl",
            "g015 answer /value/#/wellKnownName",
            "g016 answer /value/#/parentMailboxUrl",
            "g016 answer /value/#/wellKnownName",
        ],
    ),
    (
        "a placeholder or an empty text stands for the value",
        &[
            "g119 answer /value/#/responseStatus/response",
            "g119 answer /value/#/responseStatus/time",
            "g123 answer /value/#/birthday",
            "g138 answer /value/#/body/contentType",
            "g138 answer /value/#/receivedDateTime",
            "g138 answer /value/#/sentDateTime",
            "g145 answer /value/#/lastModifiedDateTime",
            "g152 answer /userRole",
            "g174 answer /body/contentType",
            "g174 answer /receivedDateTime",
            "g174 answer /sentDateTime",
            "g175 answer /body/contentType",
            "g175 answer /receivedDateTime",
            "g175 answer /sentDateTime",
            "g175 request /body/contentType",
        ],
    ),
    (
        "a date without a time, where the metadata has a time",
        &[
            "g124 answer /birthday",
            "g171 answer /birthday",
            "g171 request /birthday",
        ],
    ),
    (
        "a time in which the letter between date and time is missing",
        &[
            "g029 answer /value/#/createdDateTime",
            "g029 answer /value/#/lastModifiedDateTime",
        ],
    ),
    (
        "a word of a list in other letter case, which the service takes; metadata is strict",
        &[
            "g019 answer /value/#/distributionMethod",
            "g020 answer /value/#/distributionMethod",
            "g021 answer /value/#/distributionMethod",
            "g139 answer /value/#/body/contentType",
            "g139 answer /value/#/importance",
            "g139 answer /value/#/inferenceClassification",
            "g205 request /funSettings/giphyContentRating",
            "g205 request /visibility",
            "g228 request /body/contentType",
            "g228 request /recurrence/pattern/daysOfWeek/#",
            "g229 request /body/contentType",
            "g236 request /body/contentType",
            "g239 request /item/body/contentType",
        ],
    ),
    (
        "expanded, and the subset leaves out where it leads",
        &[
            "g021 answer /value/#/appDefinitions",
            "g022 answer /value/#/lastMessagePreview",
            "g026 answer /value/#/teamsAppDefinition",
            "g027 answer /value/#/teamsAppDefinition",
            "g103 answer /value/#/teamsAppDefinition",
            "g201 answer /webParts",
            "g201 request /webParts",
            "g225 request /members",
        ],
    ),
    (
        "a property of the beta version, or of an older one",
        &[
            "g019 answer /value/#/name",
            "g019 answer /value/#/version",
            "g020 answer /value/#/name",
            "g020 answer /value/#/version",
            "g021 answer /value/#/name",
            "g021 answer /value/#/version",
            "g022 answer /value/#/chatViewpoint",
            "g033 answer /value/#/messageId",
            "g033 answer /value/#/sortOrderIndex",
            "g033 answer /value/#/teamsAppId",
            "g132 answer /value/#/disabledPlans",
            "g168 answer /eTag",
            "g201 answer /contentType",
            "g204 answer /notificationContentType",
            "g211 answer /moderationSettings",
            "g219 answer /sortOrderIndex",
            "g224 answer /value/#/userId",
        ],
    ),
    (
        "a property of a derived type that the sample does not name, or names in an older way",
        &[
            "g129 answer /isFolder",
            "g129 answer /permission",
            "g129 answer /previewUrl",
            "g129 answer /providerType",
            "g129 answer /sourceUrl",
            "g129 answer /thumbnailUrl",
            "g230 request /item",
            "g238 answer /contentBytes",
            "g238 answer /contentId",
            "g238 answer /contentLocation",
        ],
    ),
    (
        "the answer of another operation, filed under this one",
        &[
            "g054 answer",
            "g067 answer",
            "g115 answer",
            "g153 answer /value",
        ],
    ),
    (
        "a status, or a kind of body, that the metadata does not have",
        &["g216 answer", "g223 answer", "g244 answer", "g255 request"],
    ),
];

/// Published requests that the tenant does not take, and why.
pub const REFUSED: &[(&str, &str)] = &[
    ("g078", "its token is one of another tenant"),
    ("g097", "its token is one of another tenant"),
    ("g098", "its token is one of another tenant"),
    (
        "g108",
        "no filter of users is simulated, and what is not simulated is refused",
    ),
    (
        "g109",
        "no filter of users is simulated, and what is not simulated is refused",
    ),
    (
        "g110",
        "no search for users is simulated, and what is not simulated is refused",
    ),
    (
        "g111",
        "no filter of users is simulated, and what is not simulated is refused",
    ),
    (
        "g175",
        "it changes the body of a draft, and the message here was received",
    ),
    ("g204", "it says `me`, which an app is not"),
    (
        "g211",
        "it needs a team in migration mode, as requests by hand make one",
    ),
    (
        "g212",
        "it needs a team in migration mode, as requests by hand make one",
    ),
    (
        "g215",
        "a person writes it; an app writes in migration mode only",
    ),
    (
        "g216",
        "it needs a channel in migration mode, as requests by hand make one",
    ),
    (
        "g217",
        "a person writes it; an app writes in migration mode only",
    ),
    (
        "g218",
        "it is the refusal of a second start, and here it is the first",
    ),
    (
        "g220",
        "it needs a team in migration mode, as requests by hand make one",
    ),
    ("g235", "it moves a folder to a placeholder"),
    (
        "g236",
        "open extensions are not simulated, and what is not simulated is refused",
    ),
    ("g237", "its content is a placeholder, no base64"),
    ("g238", "its content is cut, so that it is no base64"),
    (
        "g239",
        "attached items are not simulated, and what is not simulated is refused",
    ),
];
