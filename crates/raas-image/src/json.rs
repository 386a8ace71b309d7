//! Reads JSON of the source within bounds.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;
use std::rc::Rc;

use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};

use crate::{Content, ImageError, Limits, Rule};

/// Reads a JSON file of bounded size.
pub(crate) fn read<T: DeserializeOwned>(content: &Content, limits: &Limits) -> Result<T, ImageError> {
    let bytes = content.read_all(limits.json)?;
    parse(content.name(), &bytes)
}

/// Parses JSON in memory.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::refused(name, Rule::json(error)))
}

/// Reads a JSON list of any length entry by entry, so that memory holds one entry at a time.
pub(crate) fn each<T: DeserializeOwned>(
    content: &Content,
    limits: &Limits,
    mut take: impl FnMut(T) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let stream = content.open().map_err(ImageError::read(content.name()))?;
    let left = Rc::new(Cell::new(limits.entry));
    let bounded = Bounded { stream: BufReader::with_capacity(64 * 1024, stream), left: left.clone() };
    // The parser cannot return an error of `take`, so it is kept here.
    let mut failure = None;
    let each = Each {
        take: |entry: T| {
            left.set(limits.entry);
            take(entry).map_err(|error| failure = Some(error))
        },
        entry: PhantomData,
    };
    let result = serde_json::Deserializer::from_reader(bounded).deserialize_seq(each);
    match (failure, result) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(_)) if left.get() == 0 => Err(ImageError::refused(
            content.name(),
            Rule::TooLarge { size: content.size(), limit: limits.entry },
        )),
        (None, Err(error)) => Err(ImageError::refused(content.name(), Rule::json(error))),
    }
}

/// A stream that fails when one entry is longer than its limit.
struct Bounded<R> {
    stream: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Err(io::Error::other("one entry is longer than raas reads"));
        }
        let got = self.stream.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - got as u64);
        Ok(got)
    }
}

struct Each<T, F> {
    take: F,
    entry: PhantomData<T>,
}

impl<'de, T: DeserializeOwned, F: FnMut(T) -> Result<(), ()>> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            (self.take)(entry).map_err(|()| serde::de::Error::custom("refused"))?;
        }
        Ok(())
    }
}
