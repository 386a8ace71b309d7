//! The vendor's project, or namespace where the cluster has no projects.

use raas_base::failure::{Failure, Kind as FailureKind};
use serde_json::{Value, json};

use crate::access::Cluster;
use crate::api::ApiError;
use crate::explain::Attempt;
use crate::facts::Facts;
use crate::plan::Namespace;

impl Cluster {
    /// Whether a project is there. A user without the right to read it does not learn that it is missing, and uses it.
    pub(crate) fn has_namespace(&self, namespace: &Namespace) -> Result<bool, Failure> {
        self.find_namespace(namespace).map(|found| found.is_some())
    }

    fn find_namespace(&self, namespace: &Namespace) -> Result<Option<Value>, Failure> {
        match self.api.get(&format!("/api/v1/namespaces/{namespace}")) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            // On OpenShift a missing project is forbidden too. The first object of the setup decides.
            Err(ApiError::Refused(status)) if status.code == 403 => Ok(None),
            Err(error) => {
                let object = format!("project {namespace}");
                let attempt = Attempt { verb: "read", object: &object, namespace: &self.display_name };
                Err(attempt.failed(error))
            }
        }
    }

    /// Makes a project: by a request of OpenShift, or as a namespace.
    pub(crate) fn create_namespace(&self, namespace: &Namespace, facts: &Facts) -> Result<(), Failure> {
        let (target, body) = match facts.has_projects {
            true => (
                "/apis/project.openshift.io/v1/projectrequests",
                json!({
                    "apiVersion": "project.openshift.io/v1", "kind": "ProjectRequest",
                    "metadata": { "name": namespace.as_str() },
                }),
            ),
            false => (
                "/api/v1/namespaces",
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace.as_str() } }),
            ),
        };
        match self.api.create(target, &body) {
            Ok(_) => Ok(()),
            // A killed run has made it, or it is there and this user may not read it.
            Err(ApiError::Refused(status)) if status.reason == "AlreadyExists" => Ok(()),
            Err(error) => {
                let object = format!("project {namespace}");
                Err(Attempt { verb: "create", object: &object, namespace: &self.display_name }.failed(error))
            }
        }
    }

    /// Makes sure that the project is there. Returns whether it was made.
    ///
    /// # Errors
    /// The project is not there and must not be made, or the API server refuses.
    pub(crate) fn ensure_namespace(
        &self,
        namespace: &Namespace,
        facts: &Facts,
        create: bool,
        say: &dyn Fn(&str),
    ) -> Result<bool, Failure> {
        match (self.find_namespace(namespace)?, create) {
            // Its objects may still be there, and nothing new starts in it.
            (Some(found), _) if found["metadata"].get("deletionTimestamp").is_some() => Err(Failure::new(
                FailureKind::Environment,
                format!("the project {namespace} on {} is being deleted", self.display_name),
            )
            .hint("run the command again with `--create` when the project is gone, or name another one with `domain`")),
            (Some(_), _) => Ok(false),
            (None, true) => {
                self.create_namespace(namespace, facts)?;
                say(&format!("Project {namespace} is there"));
                Ok(true)
            }
            (None, false) => Err(Failure::new(
                FailureKind::Usage,
                format!("the project {namespace} is not on {}, or you may not read it", self.display_name),
            )
            .hint("make it with `raas setup --create`, or name another one with `domain` in [openshift]")
            .hint(format!(
                "if it is there, ask an administrator to let you read it: oc adm policy add-role-to-user view USER \
                 --namespace {namespace}"
            ))),
        }
    }
}
