//! A small API server with server-side apply: ownership by field, conflicts with their fields, applies that change
//! nothing and leave the version, faults where a test puts them.

mod rollout;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use serde_json::{Value, json};

use super::fields::{self, Fields};
use super::schemas::Schemas;
use crate::http::{Asked, Reply, Server};

pub use rollout::Rollout;

/// The user of every request with [`TOKEN`].
pub const USER: &str = "system:serviceaccount:demo:dev";

/// The token that the API takes.
pub const TOKEN: &str = "sha256~a-token-of-the-tests";

/// A cluster. It ends when it is dropped.
pub struct Cluster {
    server: Server,
    state: Arc<Mutex<State>>,
}

/// What happens to a request in place of its answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This answer.
    Answer(Reply),
    /// The request is carried out, and the connection is cut in the middle of the answer.
    Cut,
}

/// A permission: API group, resource with its part, verb.
pub type Permission = (String, String, String);

struct State {
    schemas: Schemas,
    namespaces: BTreeSet<String>,
    deleted_namespaces: BTreeSet<String>,
    objects: BTreeMap<String, Stored>,
    version: u64,
    groups: BTreeSet<String>,
    faults: Vec<Planned>,
    forbidden: Vec<(String, String)>,
    granted: Option<BTreeSet<Permission>>,
    rollout: Rollout,
    requests: Vec<String>,
    may_create_projects: bool,
    route_problem: Option<(String, String)>,
    revision: String,
}

struct Planned {
    method: String,
    part: String,
    left: usize,
    fault: Fault,
}

#[derive(Debug, Clone)]
struct Stored {
    body: Value,
    managers: Vec<(String, &'static str, Fields)>,
}

impl Cluster {
    /// OpenShift with the project `mydomain`.
    pub fn openshift() -> Self {
        Self::with_groups(&["route.openshift.io", "project.openshift.io", "monitoring.coreos.com"])
    }

    /// Kubernetes with the namespace `mydomain`.
    pub fn kubernetes() -> Self {
        Self::with_groups(&[])
    }

    fn with_groups(more: &[&str]) -> Self {
        let common = ["apps", "autoscaling", "networking.k8s.io", "policy"];
        let state = Arc::new(Mutex::new(State {
            schemas: Schemas::recorded(),
            namespaces: BTreeSet::from(["mydomain".to_owned()]),
            deleted_namespaces: BTreeSet::new(),
            objects: BTreeMap::new(),
            version: 100,
            groups: common.iter().chain(more).map(|group| (*group).to_owned()).collect(),
            faults: Vec::new(),
            forbidden: Vec::new(),
            granted: None,
            rollout: Rollout::Good,
            requests: Vec::new(),
            may_create_projects: true,
            route_problem: None,
            revision: "old".to_owned(),
        }));
        let shared = Arc::clone(&state);
        let server = Server::scripted(move |asked| locked(&shared).answer(asked));
        Self { server, state }
    }

    /// The URL of the API.
    pub fn url(&self) -> String {
        self.server.url("")
    }

    /// Puts a fault before the next `times` requests of a method whose target has this part.
    pub fn fault(&self, method: &str, part: &str, times: usize, fault: Fault) {
        let planned = Planned { method: method.into(), part: part.into(), left: times, fault };
        locked(&self.state).faults.push(planned);
    }

    /// Forbids a verb on a resource, such as `patch` on `services`.
    pub fn forbid(&self, verb: &str, resource: &str) {
        locked(&self.state).forbidden.push((verb.to_owned(), resource.to_owned()));
    }

    /// Grants only these permissions, beside reading what the API offers.
    pub fn grant_only(&self, permissions: impl IntoIterator<Item = Permission>) {
        locked(&self.state).granted = Some(permissions.into_iter().collect());
    }

    /// Forbids users to make projects.
    pub fn forbid_projects(&self) {
        locked(&self.state).may_create_projects = false;
    }

    /// How deployments go from now on.
    pub fn set_rollout(&self, rollout: Rollout) {
        locked(&self.state).rollout = rollout;
    }

    /// Makes routers refuse every route for this reason and message.
    pub fn refuse_routes(&self, reason: &str, message: &str) {
        locked(&self.state).route_problem = Some((reason.to_owned(), message.to_owned()));
    }

    /// Makes every pod serve a revision.
    pub fn serve(&self, revision: &str) {
        revision.clone_into(&mut locked(&self.state).revision);
    }

    /// Sets a field of an object as another manager does, by a JSON pointer.
    pub fn edit(&self, path: &str, manager: &str, pointer: &str, field: &str, value: Value) {
        let mut state = locked(&self.state);
        let stored = state.objects.get_mut(path).unwrap_or_else(|| panic!("{path} is there"));
        *stored.body.pointer_mut(pointer).expect("the field is there") = value.clone();
        for (_, _, fields) in &mut stored.managers {
            fields.remove(field);
        }
        stored.managers.push((manager.into(), "Update", Fields::from([(field.to_owned(), value)])));
        state.touch(path);
    }

    /// Adds an object that somebody else has made.
    pub fn add(&self, path: &str, body: Value) {
        let mut state = locked(&self.state);
        let manager = ("somebody".to_owned(), "Apply", fields::of(&state.schemas, &body));
        state.objects.insert(path.to_owned(), Stored { body, managers: vec![manager] });
        state.touch(path);
    }

    /// An object as it is, without its status.
    pub fn object(&self, path: &str) -> Option<Value> {
        locked(&self.state).objects.get(path).map(|stored| stored.body.clone())
    }

    /// The paths of all objects.
    pub fn paths(&self) -> Vec<String> {
        locked(&self.state).objects.keys().cloned().collect()
    }

    /// Whether a namespace is there.
    pub fn has_namespace(&self, name: &str) -> bool {
        locked(&self.state).namespaces.contains(name)
    }

    /// Begins to delete a namespace, whose objects are still there.
    pub fn delete_namespace(&self, name: &str) {
        locked(&self.state).deleted_namespaces.insert(name.to_owned());
    }

    /// All requests so far that change something: method and target.
    pub fn changes(&self) -> Vec<String> {
        let state = locked(&self.state);
        state.requests.iter().filter(|request| !request.starts_with("GET ")).cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        locked(&self.state).requests.clear();
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no thread panics while it holds this")
}

/// A request's target in parts.
struct Target<'a> {
    /// The path without the query.
    path: &'a str,
    query: BTreeMap<String, String>,
    group: &'a str,
    namespace: Option<&'a str>,
    resource: &'a str,
    name: Option<&'a str>,
    sub: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn parse(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| {
                (key.to_owned(), value.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/"))
            })
            .collect();
        let mut parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let group = if parts[0] == "apis" { parts.get(1).copied().unwrap_or_default() } else { "" };
        parts.drain(..parts.len().min(if parts[0] == "apis" { 3 } else { 2 }));
        let namespace = (parts.first() == Some(&"namespaces") && parts.len() > 2).then(|| parts[1]);
        if namespace.is_some() {
            parts.drain(..2);
        }
        let part = |n: usize| parts.get(n).copied();
        Self {
            path,
            query,
            group,
            namespace,
            resource: part(0).unwrap_or_default(),
            name: part(1),
            sub: part(2),
        }
    }

    /// `services "raas"` with its group, as messages name it.
    fn display_name(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let name = self.name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
        format!("{}{group}{name}", self.resource)
    }
}

fn status(code: u16, reason: &str, message: &str, details: Value) -> Reply {
    let mut body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
    });
    if !reason.is_empty() {
        body["reason"] = reason.into();
    }
    if !details.is_null() {
        body["details"] = details;
    }
    json_reply(code, &body)
}

fn json_reply(code: u16, body: &Value) -> Reply {
    Reply::new(code, body.to_string()).with("Content-Type", "application/json")
}

fn not_found_page() -> Reply {
    Reply::new(404, "404 page not found\n").with("Content-Type", "text/plain; charset=utf-8")
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Reply {
        self.requests.push(format!("{} {}", asked.method, asked.target));
        let planned = self.faults.iter_mut().find(|planned| {
            planned.left > 0 && planned.method == asked.method && asked.target.contains(&planned.part)
        });
        let fault = planned.map(|planned| {
            planned.left -= 1;
            planned.fault.clone()
        });
        match fault {
            Some(Fault::Answer(reply)) => reply,
            Some(Fault::Cut) => {
                let reply = self.carry_out(asked);
                let half = reply.body.len() / 2;
                reply.cut(half)
            }
            None => self.carry_out(asked),
        }
    }

    fn carry_out(&mut self, asked: &Asked) -> Reply {
        let target = Target::parse(&asked.target);
        let token = asked.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match token {
            Some(TOKEN) => {}
            Some(_) => return super::Exchange::recorded("02-wrong-token").reply,
            None => return super::Exchange::recorded("03-anonymous").reply,
        }
        if target.path == "/version" {
            return super::Exchange::recorded("01-version").reply;
        }
        if target.path == "/apis" {
            let groups: Vec<Value> = self.groups.iter().map(|name| json!({ "name": name })).collect();
            return json_reply(200, &json!({ "kind": "APIGroupList", "groups": groups }));
        }
        if !target.group.is_empty() && !self.groups.contains(target.group) {
            return not_found_page();
        }
        let verb = match (asked.method.as_str(), target.name) {
            ("GET", Some(_)) => "get",
            ("GET", None) => "list",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => "create",
        };
        let verbs: &[&str] = match (verb, self.objects.contains_key(target.path)) {
            // An apply of a new object is a creation too.
            ("patch", false) => &["patch", "create"],
            _ => &[verb],
        };
        if let Some(verb) = verbs.iter().find(|verb| !self.permits(&target, verb)) {
            return forbidden(&target, verb);
        }
        match (asked.method.as_str(), target.resource) {
            (_, "namespaces" | "projects" | "projectrequests") => self.namespace(asked, &target),
            _ if target.namespace.is_some_and(|name| !self.namespaces.contains(name)) => {
                let name = target.namespace.unwrap_or_default();
                let details = json!({ "name": name, "kind": "namespaces" });
                status(404, "NotFound", &format!("namespaces \"{name}\" not found"), details)
            }
            ("PATCH", _) => self.apply(asked, &target),
            ("GET", "pods") if target.sub == Some("proxy") => self.sites(&target),
            ("GET", "pods" | "events") => self.rollout.answer(&target, &self.objects),
            ("GET", _) if target.name.is_some() => self.get(&target),
            ("GET", _) => self.list(&target),
            ("DELETE", _) => self.delete(&target),
            _ => not_found_page(),
        }
    }

    fn permits(&self, target: &Target<'_>, verb: &str) -> bool {
        let resource =
            target.sub.map_or(target.resource.to_owned(), |sub| format!("{}/{sub}", target.resource));
        self.permits_on(target.group, resource, verb)
    }

    fn permits_on(&self, group: &str, resource: String, verb: &str) -> bool {
        let permission = (group.to_owned(), resource.clone(), verb.to_owned());
        !self.forbidden.contains(&(verb.to_owned(), resource))
            && self.granted.as_ref().is_none_or(|granted| granted.contains(&permission))
    }

    fn namespace(&mut self, asked: &Asked, target: &Target<'_>) -> Reply {
        if asked.method == "GET" && target.resource == "projectrequests" {
            return match self.may_create_projects {
                true => json_reply(200, &json!({ "kind": "Status", "status": "Success" })),
                false => {
                    status(403, "Forbidden", "You may not request a new project via this API.", json!({}))
                }
            };
        }
        if asked.method == "GET" {
            let name = target.name.unwrap_or_default();
            return match self.namespaces.contains(name) {
                true => {
                    let mut metadata = json!({ "name": name });
                    if self.deleted_namespaces.contains(name) {
                        metadata["deletionTimestamp"] = "2026-11-28T17:43:36Z".into();
                    }
                    json_reply(200, &json!({ "kind": "Namespace", "metadata": metadata }))
                }
                // A user without the permission to read it does not learn whether it is there.
                false => forbidden(target, "get"),
            };
        }
        if !self.may_create_projects {
            let message = "You may not request a new project via this API.";
            return match target.resource {
                "projectrequests" => status(403, "Forbidden", message, json!({})),
                _ => super::Exchange::recorded("08-namespace-create-forbidden").reply,
            };
        }
        let body: Value = serde_json::from_slice(&asked.body).expect("the body is JSON");
        let name = body["metadata"]["name"].as_str().expect("it has a name").to_owned();
        match self.namespaces.insert(name.clone()) {
            true => json_reply(201, &body),
            false => {
                let message = format!("namespaces \"{name}\" already exists");
                status(409, "AlreadyExists", &message, json!({ "name": name }))
            }
        }
    }

    fn apply(&mut self, asked: &Asked, target: &Target<'_>) -> Reply {
        assert_eq!(asked.headers.get("content-type").unwrap(), "application/apply-patch+yaml");
        let manager = target.query.get("fieldManager").expect("an apply names its manager");
        let body: Value = serde_json::from_slice(&asked.body).expect("the body is JSON");
        assert_eq!(body["metadata"]["name"].as_str(), target.name, "path and body name the same object");
        if self.schemas.of(&body).is_some()
            && let Some(field) = self.schemas.unknown_field(&body)
        {
            let kind = format!("{}, Kind={}", body["apiVersion"], body["kind"]).replace('"', "");
            let message = format!(
                "failed to create typed patch object ({}/{}; {kind}): {field}: field not declared in schema",
                target.namespace.unwrap_or_default(),
                target.name.unwrap_or_default()
            );
            return status(500, "", &message, Value::Null);
        }
        let force = target.query.get("force").is_some_and(|force| force == "true");
        let wanted = fields::of(&self.schemas, &body);
        let existing = self.objects.get(target.path).cloned();
        let mut stored = existing.clone().unwrap_or_else(|| Stored {
            body: json!({ "metadata": { "namespace": target.namespace } }),
            managers: Vec::new(),
        });
        if let Some(reply) = immutable(&existing, &body, target) {
            return reply;
        }
        let names_host =
            body["spec"].get("host").is_some() || body["spec"]["tls"].get("certificate").is_some();
        if target.resource == "routes"
            && existing.is_none()
            && names_host
            && !self.permits_on(target.group, "routes/custom-host".into(), "create")
        {
            return super::Exchange::recorded("11-route-host-forbidden").reply;
        }
        let live = fields::of(&self.schemas, &stored.body);
        let mut causes = Vec::new();
        for (other, operation, owned) in stored.managers.iter().filter(|(other, ..)| other != manager) {
            // An autoscaler changes the number of replicas alone, at a path of its own.
            let scale = if other == "kube-controller-manager" { " with subresource \"scale\"" } else { "" };
            let using =
                if *operation == "Update" { format!(" using {}", body["apiVersion"]) } else { String::new() };
            let words = format!("conflict with \"{other}\"{scale}{}", using.replace('"', ""));
            for field in owned
                .keys()
                .filter(|field| wanted.get(*field).is_some_and(|value| live.get(*field) != Some(value)))
            {
                causes.push(json!({
                    "reason": "FieldManagerConflict", "message": words, "field": field,
                }));
            }
        }
        if !causes.is_empty() && !force {
            let ending = if causes.len() == 1 { "" } else { "s" };
            let message = format!("Apply failed with {} conflict{ending}", causes.len());
            return status(409, "Conflict", &message, json!({ "causes": causes }));
        }
        let before = stored.managers.iter().position(|(other, op, _)| other == manager && *op == "Apply");
        let mine = before.map(|n| stored.managers.remove(n).2).unwrap_or_default();
        for (_, _, owned) in &mut stored.managers {
            owned.retain(|field, _| !causes.iter().any(|cause| cause["field"] == field.as_str()));
        }
        // The longest first: what is in an item goes before the item.
        for field in mine.keys().rev().filter(|field| !wanted.contains_key(*field)) {
            if !stored.managers.iter().any(|(_, _, owned)| owned.contains_key(field)) {
                fields::remove(&self.schemas, &mut stored.body, field);
            }
        }
        fields::merge(&self.schemas, &mut stored.body, &body);
        stored.managers.push((manager.clone(), "Apply", wanted));
        defaults(&mut stored.body);
        // An apply may hold a part of an object; the whole must be valid.
        if self.schemas.of(&body).is_some()
            && let Err(fault) = self.schemas.check(&stored.body)
        {
            let message = format!("{} \"{}\" is invalid: {fault}", body["kind"], target.display_name());
            return status(422, "Invalid", &message, json!({}));
        }
        let unchanged = existing.as_ref().is_some_and(|existing| {
            existing.body == stored.body && same_managers(&existing.managers, &stored.managers)
        });
        let code = if existing.is_some() { 200 } else { 201 };
        if target.query.get("dryRun").is_some_and(|dry| dry == "All") {
            return json_reply(code, &self.shown(&stored));
        }
        self.objects.insert(target.path.to_owned(), stored);
        if !unchanged {
            let specs = |stored: &Stored| stored.body["spec"].clone();
            let is_new_spec =
                existing.is_none_or(|existing| specs(&existing) != specs(&self.objects[target.path]));
            self.touch(target.path);
            let body = &mut self.objects.get_mut(target.path).expect("it was stored").body;
            if is_new_spec {
                let generation = body["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
                body["metadata"]["generation"] = generation.into();
            }
        }
        let stored = self.objects[target.path].clone();
        json_reply(code, &self.shown(&stored))
    }

    /// Gives an object its next version.
    fn touch(&mut self, path: &str) {
        self.version += 1;
        let stored = self.objects.get_mut(path).expect("it is there");
        stored.body["metadata"]["resourceVersion"] = self.version.to_string().into();
        let uid = format!("uid-of-{path}");
        stored.body["metadata"]["uid"] = uid.into();
    }

    /// An object as the API shows it: with its managers, and with the status that its controllers give it.
    fn shown(&self, stored: &Stored) -> Value {
        let mut body = stored.body.clone();
        let managers: Vec<Value> = stored
            .managers
            .iter()
            .map(|(manager, operation, fields)| {
                json!({ "manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": managed(fields) })
            })
            .collect();
        body["metadata"]["managedFields"] = managers.into();
        match body["kind"].as_str() {
            Some("Deployment") => body["status"] = self.rollout.status(&body),
            Some("Route") => body["status"] = self.route_status(&body),
            _ => {}
        }
        body
    }

    fn route_status(&self, body: &Value) -> Value {
        let condition = match &self.route_problem {
            None => json!({ "type": "Admitted", "status": "True" }),
            Some((reason, message)) => {
                json!({ "type": "Admitted", "status": "False", "reason": reason, "message": message })
            }
        };
        let host = body["spec"]["host"].clone();
        json!({ "ingress": [{ "host": host, "routerName": "default", "conditions": [condition] }] })
    }

    /// What a pod answers at `/-/sites`: it serves the vendors that its deployment gives it.
    fn sites(&self, target: &Target<'_>) -> Reply {
        let pod = target.name.unwrap_or_default();
        if !target.path.ends_with(":9090/proxy/-/sites") {
            return Reply::new(404, "there is nothing at this path");
        }
        let deployment = self.objects.values().find(|stored| {
            let name = stored.body["metadata"]["name"].as_str().unwrap_or_default();
            let rest = pod.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
            stored.body["kind"] == "Deployment" && rest.matches('-').count() == 1
        });
        let Some(deployment) = deployment else { return missing(target) };
        let arguments = &deployment.body["spec"]["template"]["spec"]["containers"][0]["args"];
        let named = arguments[1].as_str().filter(|word| !word.starts_with("--")).map(str::to_owned);
        let vendors = named.map_or_else(|| self.configured_vendors(&deployment.body), |vendor| vec![vendor]);
        let published = self.rollout.is_published(pod);
        let revision = if published { self.revision.as_str() } else { "" };
        let sites: Vec<Value> = vendors
            .iter()
            .map(|vendor| {
                json!({ "vendor": vendor, "revision": revision, "published": published, "problem": null })
            })
            .collect();
        json_reply(200, &json!({ "sites": sites }))
    }

    /// The vendors of the configuration that a deployment's pods read.
    fn configured_vendors(&self, deployment: &Value) -> Vec<String> {
        let name = &deployment["metadata"]["name"];
        let secret = self
            .objects
            .values()
            .find(|stored| stored.body["kind"] == "Secret" && stored.body["metadata"]["name"] == *name);
        let text = secret.and_then(|secret| secret.body["data"]["raas.cfg"].as_str()).unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let section = |line: &str| Some(line.strip_prefix('[')?.strip_suffix(']')?.to_owned());
        text.lines().filter_map(section).filter(|section| section != "aws").collect()
    }

    fn get(&self, target: &Target<'_>) -> Reply {
        match self.objects.get(target.path) {
            Some(stored) => json_reply(200, &self.shown(stored)),
            None => missing(target),
        }
    }

    fn list(&self, target: &Target<'_>) -> Reply {
        let selector = target.query.get("labelSelector").cloned().unwrap_or_default();
        let fits = |stored: &&Stored| {
            selector.split(',').filter_map(|pair| pair.split_once('=')).all(|(key, value)| {
                stored.body["metadata"]["labels"].get(key).and_then(Value::as_str) == Some(value)
            })
        };
        let in_folder = |path: &str| path.rsplit_once('/').is_some_and(|(folder, _)| folder == target.path);
        let found = self.objects.iter().filter(|(path, _)| in_folder(path)).map(|(_, stored)| stored);
        let items: Vec<Value> = found.filter(fits).map(|stored| self.shown(stored)).collect();
        json_reply(200, &json!({ "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items }))
    }

    fn delete(&mut self, target: &Target<'_>) -> Reply {
        match self.objects.remove(target.path) {
            Some(_) => json_reply(200, &json!({ "kind": "Status", "status": "Success" })),
            None => missing(target),
        }
    }
}

/// The fields of a manager as managedFields has them, as far as the tests of raas read them.
fn managed(fields: &Fields) -> Value {
    let mut spec = json!({});
    for field in fields.keys().filter_map(|field| field.strip_prefix(".spec.")) {
        if !field.contains(['.', '[']) {
            spec[format!("f:{field}")] = json!({});
        }
    }
    json!({ "f:spec": spec })
}

fn same_managers(one: &[(String, &str, Fields)], other: &[(String, &str, Fields)]) -> bool {
    one.len() == other.len() && one.iter().all(|manager| other.contains(manager))
}

fn missing(target: &Target<'_>) -> Reply {
    let message = format!("{} not found", target.display_name());
    let details = json!({ "name": target.name, "group": target.group, "kind": target.resource });
    status(404, "NotFound", &message, details)
}

fn forbidden(target: &Target<'_>, verb: &str) -> Reply {
    let place = match target.namespace.or(target.name.filter(|_| target.resource == "namespaces")) {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let sub = target.sub.map(|sub| format!("/{sub}")).unwrap_or_default();
    let message = format!(
        "{} is forbidden: User \"{USER}\" cannot {verb} resource \"{}{sub}\" in API group \"{}\" {place}",
        target.display_name(),
        target.resource,
        target.group
    );
    let details = json!({ "name": target.name, "group": target.group, "kind": target.resource });
    status(403, "Forbidden", &message, details)
}

fn immutable(existing: &Option<Stored>, body: &Value, target: &Target<'_>) -> Option<Reply> {
    let existing = existing.as_ref().filter(|_| target.resource == "deployments")?;
    let selector = body["spec"].get("selector")?;
    if existing.body["spec"]["selector"] == *selector {
        return None;
    }
    let message = format!(
        "Deployment.apps \"{}\" is invalid: spec.selector: Invalid value: {selector}: field is immutable",
        target.name.unwrap_or_default()
    );
    let cause =
        json!({ "reason": "FieldValueInvalid", "message": "field is immutable", "field": "spec.selector" });
    let details = json!({ "name": target.name, "group": "apps", "kind": "Deployment", "causes": [cause] });
    Some(status(422, "Invalid", &message, details))
}

/// What an API server adds by itself, as far as it matters here.
fn defaults(body: &mut Value) {
    let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let namespace = body["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    match body["kind"].as_str() {
        Some("Deployment") if body["spec"].get("replicas").is_none() => body["spec"]["replicas"] = 1.into(),
        Some("Route") if body["spec"].get("host").is_none() => {
            body["spec"]["host"] = format!("{name}-{namespace}.apps.example.com").into();
            body["metadata"]["annotations"]["openshift.io/host.generated"] = "true".into();
        }
        _ => {}
    }
}
