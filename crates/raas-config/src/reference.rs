//! `raas.cfg.template` and the tables of `docs/configuration.md`, made from the tables of keys.

use std::path::Path;

use raas_testkit::generated;

use crate::Config;
use crate::ini::Ini;
use crate::key::COMMON_SECTIONS;
use crate::sections::{KeyDescription, SectionDescription, describe};

/// The longest line of the template.
const WIDTH: usize = 118;

const BEGIN: &str = "<!-- keys: begin -->\n";
const END: &str = "<!-- keys: end -->\n";

const TEMPLATE_HEAD: &str = "\
# The configuration of raas. Copy this file to raas.cfg, in the current folder or in the private git repository that
# RAAS_CONF_REPO names, and remove the `#` before each key that you set. Everything has a default: no file is needed.
#
# A value may go on in indented lines. In keys that hold secrets, ${NAME} is replaced by the environment variable, so that
# no secret has to be in this file; $${ is a plain ${. `raas config check` says what is wrong, `raas config show` what is
# set.
";

fn template() -> String {
    let mut text = TEMPLATE_HEAD.to_owned();
    for SectionDescription { name, text: section, keys } in describe() {
        text.push('\n');
        comment(section.comment, &mut text);
        text.push_str(&format!("[{name}]\n"));
        for KeyDescription { name, text: key, .. } in keys {
            text.push('\n');
            let default = key.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
            comment(&format!("{}{default}", key.meaning), &mut text);
            let mut lines = key.example.lines();
            let first = lines.next().unwrap_or_default();
            text.push_str(format!("#{name} = {first}").trim_end());
            text.push('\n');
            lines.for_each(|line| text.push_str(&format!("#    {line}\n")));
        }
    }
    text
}

/// Adds a comment, in lines of at most [`WIDTH`] characters.
fn comment(words: &str, text: &mut String) {
    let mut line = "#".to_owned();
    for word in words.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

fn tables() -> String {
    let mut text = String::new();
    for SectionDescription { text: section, keys, .. } in describe() {
        text.push_str(&format!("\n### {}\n\n| key | meaning | default |\n|---|---|---|\n", section.heading));
        for KeyDescription { name, text: key, is_secret } in keys {
            let secret = if is_secret { " (secret; may be `${NAME}`)" } else { "" };
            let default = key.default.map(|default| format!("{default} ")).unwrap_or_default();
            text.push_str(&format!("| `{name}` | {}{secret} | {default}|\n", key.meaning));
        }
    }
    text.push('\n');
    text
}

#[test]
fn the_template_is_generated() {
    generated::check("raas.cfg.template", "--lib generated", |_| template());
}

#[test]
fn the_reference_of_keys_is_generated() {
    generated::check("docs/configuration.md", "--lib generated", |old| {
        let (before, rest) =
            old.split_once(BEGIN).expect("docs/configuration.md has the mark of the beginning");
        let (_, after) = rest.split_once(END).expect("docs/configuration.md has the mark of the end");
        format!("{before}{BEGIN}{}{END}{after}", tables())
    });
}

#[test]
fn the_template_loads_as_it_is_and_with_every_key() {
    let any = |_: &str| Some("x".to_owned());
    let read = |text: &str| Config::read_text(text, Path::new("raas.cfg"), &any);
    read(&template()).unwrap();
    let all: String = template()
        .lines()
        .map(|line| {
            let key = line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with("# "));
            let is_key = |rest: &&str| rest.starts_with("    ") || !rest.starts_with(' ');
            format!("{}\n", key.filter(is_key).unwrap_or(line))
        })
        .collect();
    // A vendor's CDN is Akamai or CloudFront, and the template has both.
    for other in ["cdn_akamai_secret = ", "cdn_cloudfront_key"] {
        let lines: Vec<&str> = all.lines().filter(|line| !line.starts_with(other)).collect();
        read(&lines.join("\n")).unwrap();
    }
    let ini = Ini::parse(all.as_bytes(), &any).unwrap();
    for SectionDescription { name, keys, .. } in describe() {
        let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let found: Vec<&str> = ini.section(name).map(|(key, _)| key).collect();
        assert_eq!(found, known, "[{name}]");
    }
}

#[test]
fn the_sections_are_the_common_ones_and_a_vendors() {
    let names: Vec<&str> = describe().iter().map(|section| section.name).collect();
    assert_eq!(names[..4], COMMON_SECTIONS);
    assert_eq!(names.len(), 5);
}
