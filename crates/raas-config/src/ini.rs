//! A reader of the format of Python's ConfigParser: `[section]`, `key = value` or `key: value`, values that continue in
//! indented lines, comments in lines of their own.
//!
//! No parser on crates.io both supports values of several lines and tells the line of a key.

use std::fmt;

/// A parsed file.
#[derive(Debug, Default)]
pub(crate) struct Ini {
    sections: Vec<Section>,
    entries: Vec<Entry>,
    /// The faults that concern one section, in the order of the lines.
    faults: Vec<Fault>,
}

/// A fault of one section. The other sections can be read all the same.
#[derive(Debug)]
struct Fault {
    section: String,
    error: IniError,
}

#[derive(Debug)]
struct Section {
    name: String,
    line: usize,
}

/// A section of the file.
pub(crate) struct SectionName<'a> {
    pub(crate) name: &'a str,
    /// The line of its header, from 1.
    pub(crate) line: usize,
}

#[derive(Debug)]
struct Entry {
    section: String,
    key: String,
    value: Value,
}

/// A value and its line.
#[derive(Clone)]
pub(crate) struct Value {
    /// The value. Its lines are separated by line feeds.
    pub(crate) text: String,
    /// The value as the file has it, if it differs: with the names of variables, or with `$${`.
    pub(crate) written: Option<String>,
    /// The line of the key, from 1.
    line: usize,
}

impl fmt::Debug for Value {
    /// Shows the line only: any value may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of line {}", self.line)
    }
}

impl Value {
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn error(&self, message: String) -> IniError {
        IniError { line: self.line, message }
    }
}

/// Gives the value of an environment variable. Gets the section, the key and the name of the variable; an error says
/// why the key may not have it.
pub(crate) type Environment<'a> = dyn Fn(&str, &str, &str) -> Result<String, String> + 'a;

/// An error in the file, and its line.
#[derive(Debug, Clone)]
pub(crate) struct IniError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Ini {
    /// Reads a file. `${NAME}` in a value is replaced by the environment variable, and `$${` by `${`.
    ///
    /// # Errors
    /// A line cannot be read, or a variable is missing.
    pub(crate) fn parse(
        bytes: &[u8],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, IniError> {
        Self::parse_guarded(bytes, &|_, _, name| {
            environment(name).ok_or_else(|| format!("the environment has no {name}"))
        })
    }

    /// Like [`parse`](Self::parse). `environment` may refuse a variable to a key.
    ///
    /// # Errors
    /// A line cannot be read, or a variable is missing or refused.
    fn parse_guarded(bytes: &[u8], environment: &Environment<'_>) -> Result<Self, IniError> {
        Self::parse_by_section(bytes, environment)?.without_faults()
    }

    /// Like [`parse_guarded`](Self::parse_guarded), but a fault of one section is no error: see [`fault`](Self::fault).
    ///
    /// # Errors
    /// The file is no UTF-8, or its sections cannot be told apart.
    pub(crate) fn parse_by_section(bytes: &[u8], environment: &Environment<'_>) -> Result<Self, IniError> {
        let mut ini = Self::split(bytes)?;
        for Entry { section, key, value } in &mut ini.entries {
            let variable = |name: &str| environment(section, key, name);
            match expand(&value.text, &variable) {
                Ok(expanded) => {
                    let written = std::mem::replace(&mut value.text, expanded);
                    value.written = Some(written).filter(|written| *written != value.text);
                }
                Err(message) => {
                    ini.faults.push(Fault { section: section.clone(), error: value.error(message) });
                }
            }
        }
        ini.faults.sort_by_key(|fault| fault.error.line);
        Ok(ini)
    }

    /// The first fault of a section.
    pub(crate) fn fault(&self, section: &str) -> Option<&IniError> {
        self.faults.iter().find(|fault| fault.section == section).map(|fault| &fault.error)
    }

    fn without_faults(mut self) -> Result<Self, IniError> {
        if self.faults.is_empty() { Ok(self) } else { Err(self.faults.remove(0).error) }
    }

    /// Reads a file and leaves `${NAME}` as it is.
    ///
    /// # Errors
    /// A line cannot be read.
    pub(crate) fn parse_plain(bytes: &[u8]) -> Result<Self, IniError> {
        Self::split(bytes)?.without_faults()
    }

    /// Splits a file into sections and keys.
    fn split(bytes: &[u8]) -> Result<Self, IniError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            IniError { line, message: "the line is not UTF-8".into() }
        })?;
        let mut ini = Ini::default();
        let mut section = None;
        let mut open = false;
        for (n, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = n + 1;
            let trimmed = raw.trim();
            if trimmed.starts_with(['#', ';']) {
                continue;
            }
            if trimmed.is_empty() {
                continue;
            }
            if raw.starts_with(char::is_whitespace) && open {
                let value = &mut ini.entries.last_mut().expect("a value is open").value;
                if !value.text.is_empty() {
                    value.text.push('\n');
                }
                value.text.push_str(trimmed);
                continue;
            }
            if let Some(name) = trimmed.strip_prefix('[') {
                let name = name.strip_suffix(']').filter(|name| !name.trim().is_empty());
                let name = name.ok_or(IniError { line, message: "expected `[section]`".into() })?;
                let name = name.trim().to_owned();
                if !ini.sections.iter().any(|known| known.name == name) {
                    ini.sections.push(Section { name: name.clone(), line });
                }
                section = Some(name);
                open = false;
                continue;
            }
            // The error does not show the line: it may hold a secret.
            let expected = || IniError { line, message: "expected `key = value`".into() };
            let parts = trimmed.split_once(['=', ':']).map(|(key, value)| (key.trim(), value));
            let Some((key, value)) = parts.filter(|(key, _)| !key.is_empty()) else {
                let section = section.clone().ok_or_else(expected)?;
                ini.faults.push(Fault { section, error: expected() });
                open = false;
                continue;
            };
            let key = key.to_ascii_lowercase();
            let Some(section) = section.clone() else {
                return Err(IniError {
                    line,
                    message: format!("`{key}` comes before the first `[section]`"),
                });
            };
            if let Some(first) = ini.entries.iter().find(|entry| entry.section == section && entry.key == key)
            {
                let message = format!("[{section}] has `{key}` already, in line {}", first.value.line);
                ini.faults.push(Fault { section: section.clone(), error: IniError { line, message } });
            }
            ini.entries.push(Entry {
                section,
                key,
                value: Value { text: value.trim().to_owned(), written: None, line },
            });
            open = true;
        }
        Ok(ini)
    }

    /// The sections, in order.
    pub(crate) fn sections(&self) -> impl Iterator<Item = SectionName<'_>> {
        self.sections.iter().map(|section| SectionName { name: &section.name, line: section.line })
    }

    /// The keys and values of a section, in order. A section that is missing has none.
    pub(crate) fn section<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.entries
            .iter()
            .filter(move |entry| entry.section == name)
            .map(|entry| (entry.key.as_str(), &entry.value))
    }

    /// The value of a key.
    pub(crate) fn value<'a>(&'a self, section: &'a str, key: &str) -> Option<&'a Value> {
        self.section(section).find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

fn expand(text: &str, variable: &dyn Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        rest = &after[2..];
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            continue;
        }
        out.push_str(before);
        let name = rest.find('}').map(|end| &rest[..end]).ok_or("`${` is not closed by `}`")?;
        out.push_str(&variable(name)?);
        rest = &rest[name.len() + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_on_in_indented_lines() {
        let text =
            "# comment\n[a]\nKey = one\n  two\n\n  # not this\n  three\nempty =\nother: x = y\n[b]\nkey=z\n";
        let ini = Ini::parse(text.as_bytes(), &|_| None).unwrap();
        let a: Vec<(&str, &str)> = ini.section("a").map(|(key, value)| (key, value.text.as_str())).collect();
        assert_eq!(a, [("key", "one\ntwo\nthree"), ("empty", ""), ("other", "x = y")]);
        assert_eq!(ini.section("b").count(), 1);
        assert_eq!(ini.section("c").count(), 0);
    }

    #[test]
    fn errors_name_the_line_and_show_no_secret() {
        let table: [(&[u8], usize); 5] = [
            (b"[a]\nhunter2", 2),
            (b"[a\n", 1),
            (b"[]\n", 1),
            (b"[a]\nx = 1\n\nx = 2", 4),
            (b"[a]\n\xff", 2),
        ];
        for (text, line) in table {
            let error = Ini::parse(text, &|_| None).unwrap_err();
            assert_eq!(error.line, line);
            assert!(!error.message.contains("hunter2"));
        }
    }
}
