//! Selection: whose data, and of which services.

use backup_store::catalog::Service;

/// Says which users a backup covers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Users {
    /// Every user of the tenant, found anew in each run.
    #[default]
    All,
    /// Those named, by principal name or object id. One that is not there is an error.
    Chosen(Vec<String>),
}

/// Says what a backup covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Whose data.
    pub users: Users,
    /// Principal names that are left out, whatever `users` says; case does not matter.
    pub exclude: Vec<String>,
    /// Which services.
    pub services: Vec<Service>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            users: Users::All,
            exclude: Vec::new(),
            services: vec![Service::Outlook, Service::OneDrive],
        }
    }
}

impl Selection {
    /// Tells whether the selection covers `service`.
    pub fn covers(&self, service: &Service) -> bool {
        self.services.contains(service)
    }

    /// Tells whether the user with this principal name is left out.
    pub fn excludes(&self, principal_name: &str) -> bool {
        self.exclude
            .iter()
            .any(|name| name.eq_ignore_ascii_case(principal_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusion_does_not_mind_case() {
        let selection = Selection {
            exclude: vec!["Adele@contoso.example".into()],
            ..Selection::default()
        };
        assert!(selection.excludes("adele@CONTOSO.example"));
        assert!(!selection.excludes("alex@contoso.example"));
        assert!(selection.covers(&Service::Outlook) && !selection.covers(&Service::Teams));
    }
}
