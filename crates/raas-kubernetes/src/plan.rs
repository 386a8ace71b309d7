//! What raas is to make in a cluster: settings that are checked before raas sends a request to the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use raas_base::Secret;
use raas_types::{HostName, VendorName};

/// The servers of a vendor, or of all vendors, in a cluster.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose servers they are.
    pub instance: Instance,
    /// The project (OpenShift) or namespace.
    pub namespace: Namespace,
    /// The image of the server.
    pub image: String,
    /// The names of existing secrets with which the cluster pulls the image.
    pub pull_secrets: Vec<String>,
    /// How many servers run.
    pub scale: Scale,
    /// The files that the server reads: `raas.cfg` and what it names. They are the content of a secret.
    pub files: BTreeMap<String, Secret>,
    /// The name of an existing secret whose keys become environment variables, such as `AWS_ACCESS_KEY_ID`.
    pub environment_secret: Option<String>,
    /// The name of an existing service account that the servers use. Without it, raas makes one without permissions.
    pub service_account: Option<String>,
    /// How much memory a server may take, in MiB.
    pub memory: u32,
    /// The vendors' registries: one for [`Instance::Vendor`].
    pub registries: Vec<Registry>,
    /// How clients outside the cluster reach the servers.
    pub entry: Entry,
    /// The namespace of the pods through which clients come: those of an ingress controller or of a gateway. Without it, every
    /// pod of the cluster may connect to the servers. A route needs none: OpenShift labels the namespaces of its routers.
    pub ingress_namespace: Option<Namespace>,
    /// Whether Prometheus's operator is told of the servers.
    pub monitored: bool,
}

/// Whose servers they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instance {
    /// One vendor's.
    Vendor(VendorName),
    /// Those of the fleet, which serves all vendors.
    Fleet,
}

impl Instance {
    /// The name of the objects: `raas` for the fleet, and `raas-` with the vendor's name for a vendor. Names of
    /// services are at most 63 characters long, so a long vendor's name is shortened, and its hash keeps two vendors
    /// apart.
    pub fn name(&self) -> String {
        const MOST: usize = 52; // Pods' names add a dash and 10 characters for their replica set.
        let vendor = match self {
            Self::Fleet => return "raas".to_owned(),
            Self::Vendor(vendor) => vendor,
        };
        let name = format!("raas-{vendor}");
        if name.len() <= MOST {
            return name;
        }
        let hash = crate::hash(vendor.as_str().as_bytes());
        format!("{}-{}", name[..MOST - 9].trim_end_matches('-'), &hash[..8])
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vendor(vendor) => f.write_str(vendor.as_str()),
            Self::Fleet => f.write_str("the fleet"),
        }
    }
}

/// How clients reach one vendor's registry.
#[derive(Debug, Clone)]
pub struct Registry {
    /// The vendor.
    pub vendor: VendorName,
    /// The hosts that people pull from. If there are none, OpenShift makes a host of the project's name.
    pub hosts: Vec<HostName>,
    /// The certificate of these hosts. Without it, the router shows its own.
    pub certificate: Option<Certificate>,
}

/// How many servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// So many.
    Fixed(u32),
    /// By their load.
    Auto {
        /// At least so many.
        min: u32,
        /// At most so many.
        max: u32,
    },
}

impl FromStr for Scale {
    type Err = String;

    /// `3`, or `2-5` by load.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is no number of servers: expected a number such as 2, or a range such as 2-5")
        };
        let number = |text: &str| text.parse().ok().filter(|n| (1..=100).contains(n)).ok_or_else(wrong);
        match text.split_once('-') {
            None => Ok(Self::Fixed(number(text)?)),
            Some((min, max)) => {
                let (min, max) = (number(min)?, number(max)?);
                if min < max { Ok(Self::Auto { min, max }) } else { Err(wrong()) }
            }
        }
    }
}

/// A certificate for the router.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain in PEM, the server's own certificate first.
    pub chain: String,
    /// The private key in PEM.
    pub key: Secret,
}

/// How clients outside the cluster reach the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// By OpenShift's router.
    Route,
    /// By an ingress controller of this class, or of the cluster's default class.
    Ingress(Option<String>),
    /// By this gateway of the Gateway API.
    Gateway {
        /// The gateway's namespace.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
}

/// The name of a project or namespace: a DNS label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Namespace {
    /// A namespace that raas only names, which may be one of the cluster itself.
    ///
    /// Source: RFC 1123, labels.
    ///
    /// # Errors
    /// The text is no name of a namespace.
    pub fn of_others(text: &str) -> Result<Self, String> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty()
            || text.len() > 63
            || !text.bytes().all(good)
            || text.starts_with('-')
            || text.ends_with('-')
        {
            return Err(format!(
                "`{text}` is not the name of a project: expected lower-case letters, digits and inner hyphens, at most \
                 63 characters"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Namespace {
    type Err = String;

    /// The project of a registry. OpenShift keeps `openshift-` and `kube-` for itself.
    fn from_str(text: &str) -> Result<Self, String> {
        let namespace = Self::of_others(text)?;
        if ["openshift-", "kube-"].iter().any(|begin| text.starts_with(begin)) || text == "default" {
            return Err(format!("`{text}` is a project of the cluster itself"));
        }
        Ok(namespace)
    }
}

impl Plan {
    /// The name of the instance's objects.
    pub fn name(&self) -> String {
        self.instance.name()
    }

    /// What a person should know about who may connect to the servers. `None` if only those may through whom clients come.
    pub fn admission_note(&self) -> Option<&'static str> {
        if self.entry == Entry::Route || self.ingress_namespace.is_some() {
            return None;
        }
        Some(
            "Note: every pod of the cluster may connect to the servers, which believe the client address in its \
             X-Forwarded-For: set `ingress_namespace` in [openshift] to the namespace of the ingress controller or gateway",
        )
    }

    /// All hosts that people pull from.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.registries.iter().flat_map(|registry| &registry.hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_number_or_a_range() {
        assert_eq!("2".parse(), Ok(Scale::Fixed(2)));
        assert_eq!("2-5".parse(), Ok(Scale::Auto { min: 2, max: 5 }));
        for wrong in ["0", "5-2", "2-2", "-3", "many", "2-", "101", ""] {
            assert!(wrong.parse::<Scale>().unwrap_err().contains("expected a number"), "{wrong}");
        }
    }

    #[test]
    fn the_cluster_s_own_projects_are_not_taken() {
        assert_eq!("my-domain".parse::<Namespace>().unwrap().as_str(), "my-domain");
        for wrong in ["", "-a", "a-", "A", "a.b", "a/b", "kube-system", "openshift-ingress", "default"] {
            assert!(wrong.parse::<Namespace>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_ingress_controller_may_be_in_a_namespace_of_the_cluster() {
        for name in ["ingress-nginx", "kube-system", "openshift-ingress", "default"] {
            assert_eq!(Namespace::of_others(name).unwrap().as_str(), name);
        }
        for wrong in ["", "-a", "A", "a/b", "a b"] {
            assert!(Namespace::of_others(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_objects_are_short_and_differ() {
        let name = |vendor: &str| Instance::Vendor(vendor.parse().unwrap()).name();
        assert_eq!((name("bigdatainc"), Instance::Fleet.name()), ("raas-bigdatainc".into(), "raas".into()));
        let (one, other) = (name(&format!("{}1", "a".repeat(62))), name(&format!("{}2", "a".repeat(62))));
        assert!(one != other && one.len() <= 52, "{one} {other}");
    }
}
