//! What a refusal means, and what to do: the object, the permission, and the rule that grants it.

use raas_base::failure::{Failure, Kind as FailureKind};
use raas_http::TlsFault;

use crate::api::ApiError;
use crate::status::Status;

/// What was being done to which object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    /// `apply`, `read`, `remove`
    pub(crate) verb: &'a str,
    /// `Service raas-acme`
    pub(crate) object: &'a str,
    pub(crate) namespace: &'a str,
}

impl Attempt<'_> {
    /// The failure of this attempt.
    pub(crate) fn failed(&self, error: ApiError) -> Failure {
        let Self { verb, object, namespace } = self;
        let message = format!("cannot {verb} {object} in {namespace}");
        let failure = |kind| Failure::new(kind, &message);
        match error {
            ApiError::Refused(status) => self.refused(&status, failure(FailureKind::Environment)),
            ApiError::Untrusted { fault, .. } => {
                failure(FailureKind::Environment).caused_by(error).hint(match fault {
                    TlsFault::OtherName => {
                        "give a name of the certificate in `server_url` of [openshift], or in the kubeconfig"
                    }
                    TlsFault::OutOfTime => {
                        "check the clock of this machine, and ask an administrator to renew the certificate"
                    }
                    _ => {
                        "name the authorities of the certificate in `ca_file` of [openshift], or in the kubeconfig if there \
                         is no `server_url`"
                    }
                })
            }
            error => failure(FailureKind::Environment)
                .caused_by(error)
                .hint("run the command again when the API server answers; what exists was left as it was"),
        }
    }

    fn refused(&self, status: &Status, failure: Failure) -> Failure {
        let message = status.message.clone();
        match (status.code, status.reason.as_str()) {
            (401, _) => failure
                .caused_by("the API server does not know the credentials (401 Unauthorized)")
                .hint("set a new `auth_token` in [openshift], which `oc whoami --show-token` prints, or log in again"),
            (403, _) if message.contains("exceeded quota") => failure
                .caused_by(message)
                .hint(format!("ask an administrator for a larger quota: oc describe quota --namespace {}", self.namespace)),
            (403, _) => match self.grant(status) {
                Some(grant) => failure.caused_by(message).hint(grant),
                None => failure.caused_by(message).hint("ask an administrator of the cluster what forbids it"),
            },
            (404, _) if message.contains("namespaces \"") => failure
                .caused_by(message)
                .hint(format!("make it with `raas setup --create`, or by hand: oc new-project {}", self.namespace)),
            (404, _) if status.reason.is_empty() => failure
                .caused_by("the cluster does not have this API (404)")
                .hint("check `server_url` in [openshift]; the cluster may be older than the object's kind"),
            (409, "Conflict") if !status.details.causes.is_empty() => self.conflict(status, failure),
            (422, _) if message.contains("permission to set the host") => failure
                .caused_by(message)
                .hint(self.rule("route.openshift.io", "routes/custom-host", &["create", "update"], None))
                .hint("leave `registry_host` out, so that OpenShift makes a host of the project's name"),
            (422, _) if message.contains("field is immutable") => failure
                .caused_by(message)
                .hint("remove the object and run `raas setup` again: it was made with another selector"),
            (500, "") if message.contains("field not declared in schema") => failure
                .caused_by(message)
                .hint("update the cluster: its version does not know this field"),
            (code @ (429 | 500..), _) => failure
                .caused_by(format!("the API server answered {code}: {message}"))
                .hint("run the command again when the API server is well; what exists was left as it was"),
            (code, _) => failure.caused_by(format!("the API server answered {code}: {message}")),
        }
    }

    /// The rule that grants what a message forbids.
    pub(crate) fn grant(&self, status: &Status) -> Option<String> {
        if status.message.contains("may not request a new project") {
            return Some(format!(
                "ask an administrator to make the project: oc adm new-project {} --admin=USER",
                self.object.trim_start_matches("project ")
            ));
        }
        let (verb, resource) = (status.verb()?, status.resource()?);
        Some(self.rule(&status.details.group, resource, &[verb], status.user()))
    }

    fn rule(&self, group: &str, resource: &str, verbs: &[&str], user: Option<&str>) -> String {
        let verbs: Vec<String> = verbs.iter().map(|verb| format!("\"{verb}\"")).collect();
        format!(
            "ask an administrator to grant {} this rule in {}, as deploy/rbac.yaml does: {{apiGroups: [\"{group}\"], \
             resources: [\"{resource}\"], verbs: [{}]}}",
            user.unwrap_or("the user"),
            self.namespace,
            verbs.join(", ")
        )
    }

    /// Each field with its manager. Nothing is forced: the other manager would only change it back.
    fn conflict(&self, status: &Status, failure: Failure) -> Failure {
        let fields: Vec<String> = status
            .details
            .causes
            .iter()
            .map(|cause| format!("{} ({})", cause.field, cause.message.replace('"', "`")))
            .collect();
        failure
            .caused_by(format!("somebody else manages {}", fields.join(", ")))
            .hint("let the other manager give the fields up, or let it manage the whole object and use `raas setup --print`")
    }
}

#[cfg(test)]
mod tests {
    use raas_testkit::kubernetes::Exchange;

    use super::*;

    #[test]
    fn each_recorded_refusal_is_explained() {
        // The exchange, what the text says, and what the hint says.
        let table = [
            ("02-wrong-token", "does not know the credentials", "auth_token"),
            ("03-anonymous", "system:anonymous", "verbs: [\"get\"]"),
            (
                "04-forbidden-get",
                "cannot get resource",
                "grant system:serviceaccount:demo:dev this rule in demo, as deploy/rbac.yaml does: {apiGroups: [\"policy\"], \
                 resources: [\"poddisruptionbudgets\"], verbs: [\"get\"]}",
            ),
            ("05-forbidden-apply", "cannot patch", "verbs: [\"patch\"]"),
            ("06-namespace-unknown", "namespaces \"nope\" not found", "raas setup --create"),
            ("08-namespace-create-forbidden", "cannot create", "verbs: [\"create\"]"),
            ("09-no-project-api", "does not have this API", "server_url"),
            ("11-route-host-forbidden", "do not have permission", "routes/custom-host"),
            ("13-route-invalid", "spec.tls.termination", ""),
            ("15-route-host-change-forbidden", "do not have permission", "verbs: [\"create\", \"update\"]"),
            ("16-unknown-field", "imagePulPolicy", "its version does not know this field"),
            ("17-selector-immutable", "field is immutable", "made with another selector"),
            (
                "18-conflict",
                "somebody else manages .spec.template.spec.containers[name=\"raas\"].image (conflict with `raas`)",
                "let the other manager give the fields up",
            ),
            ("21-quota-exceeded", "requested: services=1", "larger quota"),
            ("21b-quota-exceeded-route", "exceeded quota: o", "larger quota"),
        ];
        let attempt = Attempt { verb: "apply", object: "Thing raas", namespace: "demo" };
        for (name, cause, hint) in table {
            let reply = Exchange::recorded(name).reply;
            let status = Status::read(reply.status, &reply.body);
            let failure = attempt.failed(ApiError::Refused(Box::new(status)));
            let text = failure.to_string();
            assert!(
                text.starts_with("error: cannot apply Thing raas in demo\n  because: "),
                "{name}: {text}"
            );
            assert!(text.contains(cause), "{name}: {text}");
            assert!(failure.hints().join("\n").contains(hint), "{name}: {text}");
        }
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_explained() {
        let table = [
            (TlsFault::UnknownAuthority, "`ca_file`"),
            (TlsFault::OtherName, "`server_url`"),
            (TlsFault::OutOfTime, "clock"),
        ];
        let attempt = Attempt { verb: "read", object: "Route x", namespace: "demo" };
        for (fault, hint) in table {
            let failure = attempt.failed(ApiError::Untrusted { fault, why: "x".into() });
            assert!(failure.hints()[0].contains(hint), "{failure}");
        }
    }

    #[test]
    fn the_words_of_a_proxy_are_shown_in_part() {
        let page = format!("<html>\n  <b>502</b>{}", " bad".repeat(1000));
        let status = Status::read(502, page.as_bytes());
        assert_eq!(status.message.chars().count(), 300);
        let attempt = Attempt { verb: "read", object: "Route x", namespace: "demo" };
        let text = attempt.failed(ApiError::Refused(Box::new(status))).to_string();
        assert!(text.contains("the API server answered 502: <html> <b>502</b> bad"), "{text}");
    }
}
