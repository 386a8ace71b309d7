//! What the standard variables of AWS say about buckets. A key of the configuration takes precedence. Servers in a
//! cluster get the values as keys, since they have another environment.
//!
//! Source: "Service-specific endpoints" and "AWS Region", AWS SDKs and Tools Reference Guide.

use super::Config;

impl Config {
    /// Sets the endpoint of buckets and the region where the configuration names none.
    pub(super) fn add_standard_variables(&mut self, get: &dyn Fn(&str) -> Option<String>) {
        if let Some(endpoint) = s3_endpoint(get) {
            #[cfg_attr(
                not(feature = "kubernetes"),
                expect(unused_variables, reason = "only clusters need the name")
            )]
            for (vendor, settings) in &mut self.vendors {
                if settings.s3_bucket.is_some() && settings.s3_endpoint.is_none() {
                    settings.s3_endpoint = Some(endpoint.clone());
                    #[cfg(feature = "kubernetes")]
                    self.values.push(super::excerpt::Entry::new(vendor.as_str(), "s3_endpoint", &endpoint));
                }
            }
        }
        if self.aws.region.is_none()
            && let Some(region) = set(get, "AWS_REGION").or_else(|| set(get, "AWS_DEFAULT_REGION"))
        {
            #[cfg(feature = "kubernetes")]
            self.values.push(super::excerpt::Entry::new("aws", "region", &region));
            self.aws.region = Some(region);
        }
    }
}

/// The base URL of the S3 service, if it is not AWS.
fn s3_endpoint(get: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let ignored = get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    if ignored.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return None;
    }
    set(get, "AWS_ENDPOINT_URL_S3").or_else(|| set(get, "AWS_ENDPOINT_URL"))
}

/// The value of a variable. An empty one is as good as none.
fn set(get: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::variables::Variables;

    type Set = &'static [(&'static str, &'static str)];

    fn read(text: &str, variables: &[(&str, &str)]) -> Config {
        let mut config =
            Config::read(text.as_bytes(), Path::new(""), &Variables::new(&|_| None, None)).unwrap();
        config.add_standard_variables(&|name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        });
        config
    }

    #[test]
    fn the_endpoint_of_s3_precedes_that_of_all_services() {
        const S3: &str = "AWS_ENDPOINT_URL_S3";
        const ALL: &str = "AWS_ENDPOINT_URL";
        const IGNORE: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";
        let table: [(Set, Option<&str>); 6] = [
            (&[], None),
            (&[(ALL, "https://all")], Some("https://all")),
            (&[(ALL, "https://all"), (S3, "https://s3")], Some("https://s3")),
            (&[(ALL, "https://all"), (S3, "")], Some("https://all")),
            (&[(ALL, "https://all"), (IGNORE, "false")], Some("https://all")),
            (&[(ALL, "https://all"), (S3, "https://s3"), (IGNORE, "true")], None),
        ];
        for (variables, expected) in table {
            let config = read("[acme]\ns3_bucket = images\n", variables);
            let settings = config.vendor(&"acme".parse().unwrap());
            assert_eq!(settings.s3_endpoint.as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn keys_of_the_configuration_precede_variables() {
        let text = "[aws]\nregion = eu-west-1\n[acme]\ns3_bucket = images\ns3_endpoint = https://s3.example\n[folder]\n";
        let variables = [("AWS_ENDPOINT_URL", "https://all"), ("AWS_REGION", "eu-central-1")];
        let config = read(text, &variables);
        assert_eq!(
            config.vendor(&"acme".parse().unwrap()).s3_endpoint.as_deref(),
            Some("https://s3.example")
        );
        assert_eq!(config.vendor(&"folder".parse().unwrap()).s3_endpoint, None);
        assert_eq!(config.aws.region.as_deref(), Some("eu-west-1"));
        assert_eq!(read("", &variables).aws.region.as_deref(), Some("eu-central-1"));
    }

    #[cfg(feature = "kubernetes")]
    #[test]
    fn servers_in_a_cluster_get_the_values() {
        let variables = [("AWS_ENDPOINT_URL", "https://all"), ("AWS_DEFAULT_REGION", "eu-central-1")];
        let config = read("[acme]\ns3_bucket = images\n", &variables);
        let excerpt = config.excerpt(&["acme".parse().unwrap()], true).unwrap();
        let text = excerpt.files["raas.cfg"].expose();
        assert!(
            text.contains("region = eu-central-1") && text.contains("s3_endpoint = https://all"),
            "{text}"
        );
    }
}
