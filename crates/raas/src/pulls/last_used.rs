//! When keys of customers were last used, according to access logs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use raas_base::failure::Failure;
use raas_types::access::{CustomerName, KeyName};
use raas_types::{Utc, VendorName};

use super::each_line;
use super::report::Lines;

/// The last request of each key in access logs.
#[derive(Debug, Default)]
pub(crate) struct LastUsed {
    /// The names of the customer and of the key. Lines of older servers name no key.
    times: BTreeMap<(CustomerName, Option<KeyName>), Utc>,
    pub(crate) lines: Lines,
}

impl LastUsed {
    /// Reads access logs. `-` is standard input. Only the vendor's customers count.
    ///
    /// # Errors
    /// A log cannot be read, or is a text log.
    pub(crate) fn read(logs: &[PathBuf], vendor: &VendorName) -> Result<Self, Failure> {
        let mut found = Self::default();
        let mut lines = Lines::default();
        each_line(logs, &mut lines, |line| {
            if line.vendor.as_deref() != Some(vendor.as_str()) {
                return;
            }
            let Some(customer) = line.customer.as_deref().and_then(|name| name.parse().ok()) else { return };
            let key = line.customer_key.as_deref().and_then(|name| name.parse().ok());
            let Some(time) = line.time() else { return };
            let last = found.times.entry((customer, key)).or_insert(time);
            *last = time.max(*last);
        })?;
        Ok(Self { lines, ..found })
    }

    /// The last request with a key.
    pub(crate) fn of_key(&self, customer: &CustomerName, key: &KeyName) -> Option<Utc> {
        self.times.get(&(customer.clone(), Some(key.clone()))).copied()
    }

    /// The last request of a customer with any key.
    pub(crate) fn of_customer(&self, customer: &CustomerName) -> Option<Utc> {
        let of = self.times.iter().filter(|((name, _), _)| name == customer);
        of.map(|(_, time)| *time).max()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_request_of_each_key_is_found_in_any_order() {
        let line = |time: &str, vendor: &str, who: &str| {
            format!(
                r#"{{"timestamp":"2026-11-{time}Z","target":"access","method":"GET","status":200,"user_agent":"-","remote":"192.0.2.1","vendor":"{vendor}","repository":"b","kind":"tags"{who}}}"#
            )
        };
        let by = |customer: &str, key: &str| format!(r#","customer":"{customer}","customer_key":"{key}""#);
        let log = [
            line("24T09:00:00", "acme", &by("bigbank", "ci")),
            line("22T09:00:00", "acme", &by("bigbank", "ci")),
            line("25T09:00:00", "acme", &by("bigbank", "default")),
            line("26T09:00:00", "other", &by("bigbank", "ci")),
            line("27T09:00:00", "acme", ""),
            line("21T09:00:00", "acme", r#","customer":"smallshop""#),
            line("28T09:00:00", "acme", &by("NO NAME", "ci")),
        ]
        .join("\n");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(log.as_bytes()).unwrap();
        let found = LastUsed::read(&[file.path().to_owned()], &"acme".parse().unwrap()).unwrap();
        let customer = |name: &str| found.of_customer(&name.parse().unwrap()).map(|time| time.to_string());
        let key = |name: &str, key: &str| {
            found.of_key(&name.parse().unwrap(), &key.parse().unwrap()).map(|time| time.to_string())
        };
        assert_eq!(key("bigbank", "ci").as_deref(), Some("2026-11-24T09:00:00Z"));
        assert_eq!(key("bigbank", "default").as_deref(), Some("2026-11-25T09:00:00Z"));
        assert_eq!(customer("bigbank").as_deref(), Some("2026-11-25T09:00:00Z"));
        // A line of an older server names the customer only.
        assert_eq!(
            (customer("smallshop").as_deref(), key("smallshop", "ci")),
            (Some("2026-11-21T09:00:00Z"), None)
        );
        assert_eq!(customer("nobody"), None);
        assert_eq!(found.lines.access, 7);
    }
}
