//! The official description of the service: which operation a request belongs to, and whether a
//! body is what the description says.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "each test binary uses a part of it"
)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Finds the folder of conformance data, where there is one.
#[allow(clippy::disallowed_methods, reason = "tests read where the data lies")]
pub fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("M365_CONFORMANCE_DIR").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = named.unwrap_or(beside).join("graph");
    if folder.join("openapi-v1.0-subset.yaml").is_file() {
        return Some(folder);
    }
    println!("no conformance data here; nothing checked");
    None
}

/// The description, read once.
pub struct Description(Value);

/// One operation of it.
#[derive(Clone, Copy)]
pub struct Operation<'d> {
    pub template: &'d str,
    pub method: &'d str,
    pub value: &'d Value,
    shared: &'d Value,
}

impl Operation<'_> {
    /// Names it as the published samples do.
    pub fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.template)
    }
}

impl Description {
    /// Reads the description in the folder of conformance data.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("openapi-v1.0-subset.yaml")).unwrap();
        Self(serde_yaml_ng::from_str(&text).unwrap())
    }

    /// Lists all operations.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap();
        paths.iter().flat_map(|(template, methods)| {
            let methods = methods.as_object().unwrap();
            methods
                .iter()
                .filter(|(method, _)| *method != "parameters")
                .map(move |(method, value)| Operation {
                    template,
                    method,
                    value,
                    shared: methods.get("parameters").unwrap_or(&Value::Null),
                })
        })
    }

    /// Finds the operation of a request, by its path below the version; of several, the one that
    /// spells out most.
    pub fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        self.operations()
            .filter(|operation| operation.method.eq_ignore_ascii_case(method))
            .filter(|operation| fits(operation.template, path))
            .min_by_key(|operation| operation.template.matches('{').count())
    }

    /// Names the query options that an operation takes.
    pub fn options<'d>(&'d self, operation: &Operation<'d>) -> BTreeSet<&'d str> {
        let own = operation.value["parameters"].as_array();
        let shared = operation.shared.as_array();
        own.into_iter()
            .chain(shared)
            .flatten()
            .map(|parameter| self.resolve(parameter))
            .filter(|parameter| parameter["in"] == "query")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect()
    }

    /// Finds the schema of a JSON body: the request's, or that of the answer with a status.
    pub fn schema<'d>(
        &'d self,
        operation: &Operation<'d>,
        status: Option<u16>,
    ) -> Option<&'d Value> {
        let holder = match status {
            None => &operation.value["requestBody"],
            Some(status) => {
                let answers = &operation.value["responses"];
                let wide = format!("{}XX", status / 100);
                answers
                    .get(status.to_string())
                    .or_else(|| answers.get(wide))?
            }
        };
        let schema = &self.resolve(holder)["content"]["application/json"]["schema"];
        (!schema.is_null()).then_some(schema)
    }

    fn resolve<'d>(&'d self, value: &'d Value) -> &'d Value {
        match value["$ref"].as_str() {
            Some(pointer) => self.0.pointer(pointer.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    /// Says where a value is not what a schema says; nothing when it is.
    pub fn complaints(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.check(schema, value, "", &mut found);
        found
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["anyOf"].as_array() {
            // One of the choices only says that there may be nothing.
            let nothing = |choice: &&Value| value.is_null() || choice["nullable"] != true;
            let tried = choices.iter().filter(nothing).map(|choice| {
                let mut complaints = Vec::new();
                self.check(choice, value, at, &mut complaints);
                complaints
            });
            found.extend(tried.min_by_key(Vec::len).unwrap_or_default());
            return;
        }
        if value.is_null() {
            if schema["nullable"] != true && schema["type"].is_string() {
                found.push(format!("{at}: null"));
            }
            return;
        }
        if let Some(object) = value.as_object() {
            self.check_object(schema, object, at, found);
            return;
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            for (place, value) in values.iter().enumerate() {
                self.check(items, value, &format!("{at}/{place}"), found);
            }
            return;
        }
        let of_object = schema["allOf"].is_array() || schema["properties"].is_object();
        if of_object || !is_of_type(schema, value) {
            found.push(format!("{at}: {value} is no {}", schema["type"]));
        }
    }

    fn check_object(
        &self,
        schema: &Value,
        object: &Map<String, Value>,
        at: &str,
        found: &mut Vec<String>,
    ) {
        if schema["type"].is_string() && schema["type"] != "object" {
            found.push(format!("{at}: an object is no {}", schema["type"]));
            return;
        }
        let named = object.get("@odata.type").and_then(Value::as_str);
        let derived = named
            .and_then(|name| self.0["components"]["schemas"].get(name.trim_start_matches('#')));
        let mut parts = Vec::new();
        self.parts(derived.unwrap_or(schema), &mut parts);
        let open = parts.iter().all(|part| part["properties"].is_null())
            || parts.iter().any(|part| {
                part["x-ms-open-type"] == true || !part["additionalProperties"].is_null()
            });
        for (name, value) in object {
            let known = parts.iter().find_map(|part| property(part, name));
            match known {
                Some(schema) => self.check(schema, value, &format!("{at}/{name}"), found),
                None if open || name.contains('@') => {}
                None if parts.iter().any(|part| omits(part, name)) => {}
                None => found.push(format!("{at}/{name}: not in the description")),
            }
        }
        for part in parts {
            for name in part["required"].as_array().into_iter().flatten() {
                if name.as_str().is_some_and(|name| !object.contains_key(name)) {
                    found.push(format!("{at}: {name} is missing"));
                }
            }
        }
    }

    /// Collects a schema and all that it is made of.
    fn parts<'d>(&'d self, schema: &'d Value, parts: &mut Vec<&'d Value>) {
        let schema = self.resolve(schema);
        parts.push(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.parts(part, parts);
        }
    }
}

/// Finds a property; of the parameters of actions, which the description spells with a capital,
/// by the name that documents and samples have.
fn property<'d>(part: &'d Value, name: &str) -> Option<&'d Value> {
    let properties = &part["properties"];
    let capital = || {
        let first = name.get(..1)?.to_ascii_uppercase();
        properties.get(first + &name[1..])
    };
    properties.get(name).or_else(capital)
}

/// Tells whether the description leaves out a navigation of that name.
fn omits(part: &Value, name: &str) -> bool {
    let omitted = part["x-omitted-navigation"].as_array();
    omitted.is_some_and(|names| names.iter().any(|own| own == name))
}

fn is_of_type(schema: &Value, value: &Value) -> bool {
    if let Some(words) = schema["enum"].as_array() {
        return schema["x-ms-enum-flags"].is_object() || words.contains(value);
    }
    match schema["type"].as_str() {
        None => true,
        Some("string") => value
            .as_str()
            .is_some_and(|text| is_of_format(schema, text)),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some(_) => false,
    }
}

fn is_of_format(schema: &Value, text: &str) -> bool {
    match schema["format"].as_str() {
        Some("date-time") => text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z'),
        Some("uuid") => text.len() == 36 && text.matches('-').count() == 4,
        _ => true,
    }
}

/// Tells whether a path is one of a template.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if segment_fits(wanted, given) => {}
            _ => return false,
        }
    }
}

fn segment_fits(template: &str, given: &str) -> bool {
    let Some((before, rest)) = template.split_once('{') else {
        return template.eq_ignore_ascii_case(given);
    };
    let Some((_, after)) = rest.split_once('}') else {
        return false;
    };
    let colons = template.matches(':').count();
    // Ids of mailboxes and channels hold colons of their own.
    let own = ["MBX:", "19:"].iter().any(|id| given.starts_with(id));
    given.len() > before.len() + after.len()
        && given.starts_with(before)
        && given.ends_with(after)
        && (own || given.matches(':').count() == colons)
}
