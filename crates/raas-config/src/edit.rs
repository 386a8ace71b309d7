//! Adds keys to the text of `raas.cfg`. Everything else stays as people wrote it: comments, order, spacing.

use crate::ini::Ini;

/// The text with these settings in the section. `None` if the section and all settings are there already.
///
/// # Errors
/// The text cannot be read, or has a key with another value.
pub(crate) fn with_settings(
    text: &str,
    section: &str,
    settings: &[(&str, String)],
) -> Result<Option<String>, String> {
    let ini = Ini::parse_plain(text.as_bytes())
        .map_err(|error| format!("line {}: {}", error.line, error.message))?;
    let mut missing = Vec::new();
    for (key, wanted) in settings {
        match ini.value(section, key) {
            None => missing.push((*key, wanted.replace("${", "$${"))),
            Some(value) if value.text == *wanted => {}
            Some(value) => {
                return Err(format!(
                    "line {}: [{section}] has `{key} = {}`, not `{wanted}`",
                    value.line(),
                    value.text
                ));
            }
        }
    }
    let known = ini.sections().any(|known| known.name == section);
    if known && missing.is_empty() {
        return Ok(None);
    }
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let new: String = missing.iter().map(|(key, value)| format!("{key} = {value}{end}")).collect();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (at, new) = if known {
        (end_of_section(&lines, section), new)
    } else {
        let gap = if text.trim().is_empty() { "" } else { end };
        (lines.len(), format!("{gap}[{section}]{end}{new}"))
    };
    // The last line of the text may have no line break.
    let new = if at > 0 && !lines[at - 1].ends_with('\n') { format!("{end}{new}") } else { new };
    lines.insert(at, &new);
    Ok(Some(lines.concat()))
}

/// The number of lines up to the end of the section's last key or value. Comments before the next section belong to the
/// next section.
fn end_of_section(lines: &[&str], section: &str) -> usize {
    let mut inside = false;
    let mut end = 0;
    for (n, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start_matches('\u{feff}').trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            inside = name.trim() == section;
        }
        if inside {
            end = n + 1;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, settings: &[(&str, &str)]) -> Result<Option<String>, String> {
        let settings: Vec<(&str, String)> = settings.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        with_settings(text, "acme", &settings)
    }

    #[test]
    fn a_new_section_goes_to_the_end() {
        let table = [
            ("", "[acme]\ns3_bucket = b\n"),
            (
                "# mine\n[redhat]\nlayer_url = https://x",
                "# mine\n[redhat]\nlayer_url = https://x\n\n[acme]\ns3_bucket = b\n",
            ),
            ("[a]\r\nx = 1\r\n", "[a]\r\nx = 1\r\n\r\n[acme]\r\ns3_bucket = b\r\n"),
        ];
        for (before, after) in table {
            assert_eq!(set(before, &[("s3_bucket", "b")]).unwrap().as_deref(), Some(after));
        }
    }

    #[test]
    fn an_existing_section_gets_the_missing_keys() {
        let text = "[acme] \n# the bucket\ns3_bucket = b\n\n# the next\n[other]\ns3_bucket = o\n";
        let after = "[acme] \n# the bucket\ns3_bucket = b\nopenshift_domain = d\n\n# the next\n[other]\ns3_bucket = o\n";
        let settings = [("s3_bucket", "b"), ("openshift_domain", "d")];
        assert_eq!(set(text, &settings).unwrap().as_deref(), Some(after));
        assert_eq!(set(after, &settings).unwrap(), None);
        assert_eq!(set("[acme]", &settings[..1]).unwrap().as_deref(), Some("[acme]\ns3_bucket = b\n"));
    }

    #[test]
    fn a_key_with_another_value_is_an_error() {
        let failure = set("\n[acme]\ns3_bucket = theirs\n", &[("s3_bucket", "b")]).unwrap_err();
        assert!(failure.contains("line 3") && failure.contains("theirs"), "{failure}");
    }
}
