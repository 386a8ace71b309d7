//! `raas doctor`.

use std::io::{self, IsTerminal as _, Read as _};
use std::process::ExitCode;

use clap::Args;
use raas_types::{ImageArgument, Reference, VendorName};

use crate::address;
use crate::config::Config;
use crate::doctor::{self, Diagnosis, Options};
use crate::output;
use crate::status::Outcome;
use raas_base::Secret;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_platform::Local;
use raas_publish::home::Home;
use raas_sources::credentials::{Credentials, PasswordLogin};
use raas_sources::registry::ImageReference;

/// Go through the steps of a pull as docker, containerd and podman do, and report what is wrong
///
/// The image may be in any registry. The steps are: name, connection, certificate, ping, login, the manifest as each
/// client asks for it, the config, and each layer with every redirect. Each problem comes with its fix.
///
/// As docker does, the command tries TLS first, and speaks without TLS to an address of this machine that has none. It
/// takes a user name and password from where docker and podman keep them.
///
/// The exit code is 0 only if every step succeeds.
#[derive(Debug, Args)]
#[command(
    override_usage = "raas doctor [OPTIONS] [ISV] REFERENCE",
    after_long_help = "Example:\n  raas doctor registry.example.com/bigdata-app:1.0"
)]
pub(crate) struct Arguments {
    /// Pull HOST/IMAGE[:TAG|@DIGEST], or this vendor's IMAGE[:TAG]
    ///
    /// A vendor's image is pulled from the `registry_host` of raas.cfg, or from the server that runs on this machine.
    #[arg(value_name = "[ISV] REFERENCE", required = true, num_args = 1..=2)]
    words: Vec<String>,

    /// Check all platforms of an index [default: linux on this processor, and linux/amd64]
    #[arg(long)]
    all_platforms: bool,

    /// Download everything, and compare it with its digest
    #[arg(long)]
    deep: bool,

    /// Speak without TLS
    #[arg(long)]
    plain_http: bool,

    /// Log in as this user
    ///
    /// The password is the value of RAAS_REGISTRY_PASSWORD, or comes with --password-stdin.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(
    home: &dyn Fn() -> Result<Home, Failure>,
    config: &dyn Fn() -> Result<Config, Failure>,
    arguments: &Arguments,
) -> Result<ExitCode, Failure> {
    let (host, name, reference) = match arguments.words.as_slice() {
        [vendor, image] => of_vendor(home, config, vendor, image)?,
        words => {
            let text = words.first().map(String::as_str).unwrap_or_default();
            let image: ImageReference = text.parse().map_err(|_| {
                Failure::new(Kind::Usage, format!("`{text}` is not the reference of an image in a registry"))
                    .hint("give HOST/IMAGE:TAG, such as registry.example.com/app:1.0, or a vendor and an image, such as `bigdatainc app:1.0`")
            })?;
            (image.api_host().to_owned(), image.name.clone(), image.reference)
        }
    };
    let login = match &arguments.username {
        Some(user) => {
            Some(PasswordLogin { user: user.clone(), password: password(arguments.password_stdin)? })
        }
        None => Credentials::of_standard_files()
            .find(&host, &name)
            .map_err(|failure| failure.hint("give --username and a password"))?,
    };
    let diagnosis = doctor::examine(&Options {
        host,
        name,
        reference,
        plain_http: arguments.plain_http,
        login,
        all_platforms: arguments.all_platforms,
        deep: arguments.deep,
    })?;
    if arguments.json {
        output::json(&diagnosis);
    } else {
        print(&diagnosis, io::stdout().is_terminal());
    }
    Ok(if diagnosis.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The host, name and reference that a vendor's image is pulled with.
fn of_vendor(
    home: &dyn Fn() -> Result<Home, Failure>,
    config: &dyn Fn() -> Result<Config, Failure>,
    vendor: &str,
    image: &str,
) -> Result<(String, raas_types::RepositoryName, Reference), Failure> {
    let vendor: VendorName = vendor.parse()?;
    let (image, digest) = match image.split_once('@') {
        Some((image, digest)) => (image, Some(digest)),
        None => (image, None),
    };
    let usage = |error: &dyn std::fmt::Display| Failure::new(Kind::Usage, error.to_string());
    let argument: ImageArgument = image.parse().map_err(|error| usage(&error))?;
    let reference = match (digest, argument.tag) {
        (Some(digest), _) => digest.parse().map_err(|error| usage(&error))?,
        (None, Some(tag)) => Reference::Tag(tag),
        (None, None) => "latest".parse().map_err(|error| usage(&error))?,
    };
    if let Some(host) = config()?.vendor(&vendor).registry_addresses.first() {
        return Ok((host.to_string(), argument.name, reference));
    }
    let home = home()?;
    let serving = Local::new(home.servers()).servers(&vendor)?;
    let server = serving.first().ok_or_else(|| {
        Failure::new(
            Kind::Usage,
            format!("the registry of {vendor} has no known host, and none of its servers runs here"),
        )
        .hint(format!(
            "set `registry_host` in [{vendor}] of raas.cfg, run `raas serve {vendor}`, or give HOST/IMAGE:TAG"
        ))
    })?;
    Ok((address::of_server(&home, server, &vendor), argument.name, reference))
}

fn password(stdin: bool) -> Result<Secret, Failure> {
    if stdin {
        let mut text = String::new();
        io::stdin()
            .take(64 * 1024)
            .read_to_string(&mut text)
            .context(|| "cannot read the password from standard input".into())?;
        return Ok(Secret::new(text.trim_end_matches(['\r', '\n'])));
    }
    std::env::var("RAAS_REGISTRY_PASSWORD").map(Secret::new).map_err(|_| {
        Failure::new(Kind::Usage, "--username needs a password").hint(
            "set RAAS_REGISTRY_PASSWORD, or give --password-stdin and write the password to standard input",
        )
    })
}

fn print(diagnosis: &Diagnosis, terminal: bool) {
    output::line(&diagnosis.reference);
    for check in &diagnosis.checks {
        let outcome = match (check.outcome, terminal) {
            (Outcome::Ok, true) => "\u{2713}",
            (Outcome::Warning, true) => "!",
            (Outcome::Failed, true) => "\u{2717}",
            (Outcome::Ok, false) => "ok  ",
            (Outcome::Warning, false) => "warn",
            (Outcome::Failed, false) => "FAIL",
        };
        output::line(&format!("{outcome}  {:10}  {}", check.name, check.found));
        if let Some(fix) = &check.fix {
            output::line(&format!("                  fix: {fix}"));
        }
        for detail in &check.details {
            output::line(&format!("                  {detail}"));
        }
    }
}
