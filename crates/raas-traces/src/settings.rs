//! The settings of traces, in the standard variables of OpenTelemetry.
//!
//! Source: OpenTelemetry, "Environment Variable Specification" and "OTLP exporter configuration".

use std::sync::Arc;
use std::time::Duration;

use raas_base::{Secret, redact};
use raas_http::http::{HeaderName, HeaderValue, Uri};
use raas_http::{ClientIdentity, ForwardProxies, ProxyError, Trust, authorities_from_pem};

use crate::pairs;

/// How long the collector may take for one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans are sent to, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) url: Secret,
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) timeout: Duration,
    pub(crate) trust: Trust,
    pub(crate) identity: Option<Arc<ClientIdentity>>,
    pub(crate) proxies: Arc<ForwardProxies>,
    /// The attributes of the program.
    pub(crate) resource: Vec<(String, String)>,
}

/// A variable with a value that cannot be used. The text never has a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A variable of OpenTelemetry.
    #[error("{variable}: {reason}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is expected, or what is wrong.
        reason: String,
    },
    /// A variable that should name a proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

impl Settings {
    /// Reads the variables. None if they ask for no traces: they name no collector, or switch traces off. `about` are
    /// attributes of the program, which the variables may replace.
    ///
    /// # Errors
    /// A variable has a value that cannot be used.
    pub fn read(
        about: &[(&str, String)],
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let variables = Variables(variable);
        if variables.switch_traces_off()? {
            return Ok(None);
        }
        let Some(url) = variables.url()? else { return Ok(None) };
        variables.check_protocol()?;
        Ok(Some(Self {
            url: Secret::new(url),
            headers: variables.headers()?,
            timeout: variables.timeout()?,
            trust: variables.trust()?,
            identity: variables.identity()?,
            proxies: Arc::new(ForwardProxies::from_variables(variable)?),
            resource: variables.resource(about)?,
        }))
    }

    /// The URL of the collector, without secrets.
    pub fn collector(&self) -> String {
        redact::url(self.url.expose())
    }
}

/// Two names of a setting: the first is for traces alone, the second is for all signals.
type Names = [&'static str; 2];

const ENDPOINTS: Names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const HEADERS: Names = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const PROTOCOL: Names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUTS: Names = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const AUTHORITIES: Names = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const CLIENT_CERTIFICATE: Names =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
const CLIENT_KEY: Names = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    /// The value of a variable. An empty variable counts as unset.
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The first variable that is set, with its value.
    fn first(&self, names: Names) -> Option<(&'static str, String)> {
        names.into_iter().find_map(|name| Some((name, self.get(name)?)))
    }

    fn switch_traces_off(&self) -> Result<bool, SettingsError> {
        if self.get(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(true);
        }
        let Some(exporters) = self.get(EXPORTER) else { return Ok(false) };
        let mut exporters = exporters.split(',').map(str::trim);
        match (exporters.clone().any(|name| name == "otlp"), exporters.all(|name| name == "none")) {
            (true, _) => Ok(false),
            (false, true) => Ok(true),
            (false, false) => Err(wrong(EXPORTER, "raas has the exporters `otlp` and `none` only")),
        }
    }

    fn url(&self) -> Result<Option<String>, SettingsError> {
        let Some((name, mut url)) = self.first(ENDPOINTS) else { return Ok(None) };
        let parsed: Option<Uri> = url.parse().ok();
        let parsed = parsed.filter(|url| {
            let has_host = url.authority().is_some_and(|authority| !authority.host().is_empty());
            matches!(url.scheme_str(), Some("http" | "https")) && has_host
        });
        let Some(parsed) = parsed else {
            return Err(wrong(name, "expected a URL that begins with http:// or https://"));
        };
        if parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            let reason = "a URL with a user name or password is not used; put the login into OTEL_EXPORTER_OTLP_HEADERS";
            return Err(wrong(name, reason));
        }
        // The URL for all signals is a folder. The URL for traces is used as it is.
        if name == ENDPOINTS[1] {
            let (path, query) = url.split_once('?').map_or((url.as_str(), None), |(path, q)| (path, Some(q)));
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            url = format!("{}/v1/traces{query}", path.trim_end_matches('/'));
        }
        Ok(Some(url))
    }

    fn check_protocol(&self) -> Result<(), SettingsError> {
        match self.first(PROTOCOL) {
            Some((name, protocol)) if protocol != "http/protobuf" => Err(wrong(
                name,
                "raas speaks `http/protobuf` only, for which collectors listen on port 4318; \
                 OTEL_EXPORTER_OTLP_TRACES_PROTOCOL and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT are for traces alone",
            )),
            _ => Ok(()),
        }
    }

    fn headers(&self) -> Result<Vec<(String, Secret)>, SettingsError> {
        let Some((name, list)) = self.first(HEADERS) else { return Ok(Vec::new()) };
        let is_header = |(key, value): &(String, String)| {
            HeaderName::try_from(key.as_str()).is_ok() && HeaderValue::try_from(value.as_str()).is_ok()
        };
        let pairs = pairs::parse(&list).filter(|pairs| pairs.iter().all(is_header));
        let pairs =
            pairs.ok_or_else(|| wrong(name, "expected `NAME=VALUE,NAME2=VALUE2`, percent-encoded"))?;
        Ok(pairs.into_iter().map(|(key, value)| (key, Secret::new(value))).collect())
    }

    fn timeout(&self) -> Result<Duration, SettingsError> {
        let Some((name, value)) = self.first(TIMEOUTS) else { return Ok(TIMEOUT) };
        match value.parse() {
            Ok(milliseconds @ 1..=600_000) => Ok(Duration::from_millis(milliseconds)),
            _ => Err(wrong(name, "expected milliseconds, from 1 to 600000")),
        }
    }

    fn trust(&self) -> Result<Trust, SettingsError> {
        let Some((name, path)) = self.first(AUTHORITIES) else { return Ok(Trust::System) };
        let found = authorities_from_pem(&read_file(name, &path)?);
        found.map(Trust::Authorities).map_err(|error| wrong(name, &format!("{path}: {error}")))
    }

    fn identity(&self) -> Result<Option<Arc<ClientIdentity>>, SettingsError> {
        let (certificate, key) = (self.first(CLIENT_CERTIFICATE), self.first(CLIENT_KEY));
        let Some((name, path)) = certificate else { return Ok(None) };
        let Some((key_name, key_path)) = key else {
            return Err(wrong(name, "the certificate needs its key, in OTEL_EXPORTER_OTLP_CLIENT_KEY"));
        };
        let (certificate, key) = (read_file(name, &path)?, read_file(key_name, &key_path)?);
        let identity = ClientIdentity::from_pem(&certificate, &key);
        identity.map(|identity| Some(Arc::new(identity))).map_err(|error| wrong(name, &error.to_string()))
    }

    /// The attributes of the program: those of the variables, then those of `about` that the variables do not have.
    fn resource(&self, about: &[(&str, String)]) -> Result<Vec<(String, String)>, SettingsError> {
        const SERVICE_NAME: &str = "service.name";
        let mut resource = match self.get(RESOURCE) {
            None => Vec::new(),
            Some(list) => pairs::parse(&list)
                .ok_or_else(|| wrong(RESOURCE, "expected `key=value,key2=value2`, percent-encoded"))?,
        };
        if let Some(name) = self.get(SERVICE) {
            resource.retain(|(key, _)| key != SERVICE_NAME);
            resource.push((SERVICE_NAME.to_owned(), name));
        }
        let own = [
            (SERVICE_NAME, "raas".to_owned()),
            ("telemetry.sdk.language", "rust".to_owned()),
            ("telemetry.sdk.name", "raas-traces".to_owned()),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        for (key, value) in about.iter().chain(&own) {
            if !resource.iter().any(|(known, _)| known == key) {
                resource.push(((*key).to_owned(), value.clone()));
            }
        }
        Ok(resource)
    }
}

fn read_file(name: &'static str, path: &str) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|error| wrong(name, &format!("cannot read {path}: {error}")))
}

fn wrong(variable: &'static str, reason: &str) -> SettingsError {
    SettingsError::Variable { variable, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        let about = [("service.version", "1".to_owned()), ("host.name", "here".to_owned())];
        Settings::read(&about, &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const ON: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn traces_are_off_unless_a_collector_is_named() {
        let table: [(&[(&str, &str)], bool); 9] = [
            (&[], false),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], false),
            (&[ON], true),
            (&[ON, ("OTEL_TRACES_EXPORTER", "none")], false),
            (&[ON, ("OTEL_TRACES_EXPORTER", "console, otlp")], true),
            (&[ON, ("OTEL_SDK_DISABLED", "True")], false),
            (&[ON, ("OTEL_SDK_DISABLED", "1")], true),
            (&[ON, ("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "x")], false),
        ];
        for (variables, is_on) in table {
            assert_eq!(read(variables).unwrap().is_some(), is_on, "{variables:?}");
        }
    }

    #[test]
    fn the_url_for_all_signals_is_a_folder_and_that_for_traces_is_not() {
        let table = [
            (ON, "http://collector:4318/v1/traces"),
            ((ON.0, "https://x.org/otlp/"), "https://x.org/otlp/v1/traces"),
            ((ON.0, "https://x.org/otlp?key=a"), "https://x.org/otlp/v1/traces?key=a"),
            (("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://x.org/spans"), "https://x.org/spans"),
        ];
        for (variable, url) in table {
            assert_eq!(read(&[variable]).unwrap().unwrap().url.expose(), url);
        }
        let both = [ON, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://x.org/spans?key=a")];
        let settings = read(&both).unwrap().unwrap();
        assert_eq!(settings.collector(), "https://x.org/spans");
    }

    #[test]
    fn the_resource_has_what_the_variables_say_and_what_is_known() {
        let of = |variables: &[(&str, &str)], key: &str| {
            let settings = read(&[&[ON][..], variables].concat()).unwrap().unwrap();
            let found: Vec<String> =
                settings.resource.into_iter().filter(|(known, _)| known == key).map(|(_, v)| v).collect();
            assert!(found.len() < 2, "{found:?}");
            found.into_iter().next()
        };
        let listed = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,host.name=there,team=x%2Cy");
        assert_eq!(of(&[], "service.name").as_deref(), Some("raas"));
        assert_eq!(of(&[], "host.name").as_deref(), Some("here"));
        assert_eq!(of(&[listed], "service.name").as_deref(), Some("a"));
        assert_eq!(of(&[listed], "host.name").as_deref(), Some("there"));
        assert_eq!(of(&[listed], "team").as_deref(), Some("x,y"));
        assert_eq!(of(&[listed, ("OTEL_SERVICE_NAME", "b")], "service.name").as_deref(), Some("b"));
    }

    #[test]
    fn an_error_names_the_variable_and_never_its_value() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://hunter2/"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://jane:hunter2@x.org/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api key=hunter2"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=hunter2%0A"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "hunter2"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_RESOURCE_ATTRIBUTES", "hunter2"),
            ("HTTPS_PROXY", "http://u:hunter2 x@p"),
        ] {
            let error = read(&[(name, value), ON]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secrets = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://x.org/?key=hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter3"),
        ];
        let settings = read(&secrets).unwrap().unwrap();
        assert_eq!(settings.headers[0].1.expose(), "hunter3");
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
