//! Which environment variables `${NAME}` may stand for.
//!
//! A colleague who can write `raas.cfg` must not be able to read a server's environment through a value that clients
//! see, such as `layer_url`.

use crate::sections;

/// The environment variable that lists the variables which may stand in any key. It is set where raas runs, so a
/// colleague with the configuration repository cannot change it.
const ALLOWED: &str = "RAAS_ENV_OK";

/// The environment variables for values of `raas.cfg`.
pub(crate) struct Variables<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    /// The only variables that values may name, in any key. `None`: keys that hold secrets may name every variable.
    allowed: Option<Vec<String>>,
}

impl<'a> Variables<'a> {
    /// The variables of this process.
    pub(crate) fn of_process() -> Variables<'static> {
        let get = &|name: &str| std::env::var(name).ok();
        let allowed = get(ALLOWED);
        Variables::new(get, allowed.as_deref())
    }

    /// `allowed` is the value of `RAAS_ENV_OK`.
    pub(crate) fn new(get: &'a dyn Fn(&str) -> Option<String>, allowed: Option<&str>) -> Self {
        let words = |text: &str| {
            let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        Self { get, allowed: allowed.map(words) }
    }

    /// The value of a variable, for a key of a section.
    ///
    /// # Errors
    /// The variable is missing, or this key may not name it. The message shows no value.
    pub(crate) fn value(&self, section: &str, key: &str, name: &str) -> Result<String, String> {
        match &self.allowed {
            Some(allowed) if !allowed.iter().any(|known| known == name) => {
                return Err(format!("{ALLOWED} does not name {name}, so no value may have `${{{name}}}`"));
            }
            None if !sections::is_secret(section, key) => {
                return Err(format!(
                    "`{key}` holds no secret, so `${{{name}}}` is not replaced in it: write the value itself, or name the \
                     variables that any key may have in {ALLOWED}, where raas runs"
                ));
            }
            Some(_) | None => {}
        }
        (self.get)(name).ok_or_else(|| {
            format!(
                "the environment has no {name}: set it, `export {name}=…` or in the file of variables of the service's unit"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_hold_secrets_read_the_environment() {
        let get = |name: &str| matches!(name, "KEY" | "OTHER").then(|| "hunter2".to_owned());
        let table = [
            (None, "redhat", "registry_password", "KEY", Ok(())),
            (None, "acme", "cdn_akamai_secret", "KEY", Ok(())),
            (None, "redhat", "registry_password", "NONE", Err("the environment has no NONE")),
            (None, "redhat", "layer_url", "KEY", Err("`layer_url` holds no secret")),
            (None, "redhat", "registry_host", "KEY", Err("`registry_host` holds no secret")),
            (None, "acme", "token_realm", "KEY", Err("RAAS_ENV_OK")),
            (None, "acme", "cdn_url", "NONE", Err("holds no secret")),
            (Some("KEY, THIRD"), "acme", "s3_bucket", "KEY", Ok(())),
            (Some("KEY, THIRD"), "acme", "s3_bucket", "OTHER", Err("RAAS_ENV_OK does not name OTHER")),
            (Some("KEY, THIRD"), "redhat", "registry_password", "OTHER", Err("does not name OTHER")),
            (Some(""), "redhat", "registry_password", "KEY", Err("does not name KEY")),
        ];
        for (allowed, section, key, name, expected) in table {
            match (Variables::new(&get, allowed).value(section, key, name), expected) {
                (Ok(value), Ok(())) => assert_eq!(value, "hunter2"),
                (Err(error), Err(expected)) => {
                    assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
                }
                (found, _) => panic!("{section} {key} {name}: {found:?}"),
            }
        }
    }
}
