//! The commands of a script: as much of the shell's language as the documents use.

/// The commands of a transcript: what follows `$ `, with the lines that a backslash continues.
pub(super) fn of_transcript(text: &str) -> String {
    let mut script = String::new();
    let mut goes_on = false;
    for line in text.lines() {
        let command = if goes_on { Some(line) } else { line.strip_prefix("$ ") };
        if let Some(command) = command {
            script.push_str(command);
            script.push('\n');
        }
        goes_on = command.is_some_and(|command| command.ends_with('\\'));
    }
    script
}

/// The words of every simple command, without redirections, comments and here-documents.
pub(super) fn commands(script: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let script = script.replace("\\\n", " ");
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        if let Some((_, end)) = line.split_once("<<") {
            let end = end.trim_matches(['-', '\'', '"', ' ']);
            lines.by_ref().take_while(|line| line.trim() != end).for_each(drop);
        }
        let mut command = Vec::new();
        let mut skips_next = false;
        for token in tokens(line) {
            match token {
                Token::Operator => commands.push(std::mem::take(&mut command)),
                Token::Redirection => skips_next = true,
                Token::Word(_) if skips_next => skips_next = false,
                Token::Word(word) => command.push(word),
            }
        }
        commands.push(command);
    }
    commands.retain(|command| !without_prefix(command).is_empty());
    commands
}

/// A command of a sentence without what it may leave out: `[:TAG]`
pub(super) fn without_brackets(command: &str) -> String {
    let mut parts = command.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once(']').map_or(part, |(_, after)| after))
}

/// The words of one command.
pub(super) fn words(command: &str) -> Vec<String> {
    commands(command).into_iter().next().unwrap_or_default()
}

/// The command without variables, and without the program that starts it.
pub(super) fn without_prefix(words: &[String]) -> &[String] {
    let is_variable = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        })
    };
    let start = words.iter().position(|word| !is_variable(word)).unwrap_or(words.len());
    let words = &words[start..];
    let skipped = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["sudo", "-u", _, ..] => 3,
        ["timeout", _, ..] => 2,
        ["sudo" | "exec" | "time" | "env" | "if" | "then" | "do" | "while" | "until" | "!", _, ..] => 1,
        _ => return words,
    };
    without_prefix(&words[skipped..])
}

enum Token {
    Word(String),
    /// `|`, `&&`, `;` and the like: the next word begins a command.
    Operator,
    /// `>`, `2>>`, `<` and the like: the next word is a file.
    Redirection,
}

fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    // Within `$(…)` and the like.
    let mut depth = 0_usize;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            _ if quote.is_some() => {
                if quote == Some(c) {
                    quote = None;
                } else {
                    word.get_or_insert_default().push(c);
                }
            }
            '\'' | '"' if depth == 0 => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            '(' => {
                depth += 1;
                word.get_or_insert_default().push(c);
            }
            ')' => {
                depth = depth.saturating_sub(1);
                word.get_or_insert_default().push(c);
            }
            _ if depth > 0 => word.get_or_insert_default().push(c),
            '#' if word.is_none() => break,
            ' ' | '\t' => tokens.extend(word.take().map(Token::Word)),
            '<' | '>' => {
                // The number of the descriptor belongs to the redirection.
                let number = word.take_if(|word| word.bytes().all(|b| b.is_ascii_digit()));
                drop(number);
                tokens.extend(word.take().map(Token::Word));
                let mut names_descriptor = false;
                while characters.next_if(|next| matches!(next, '<' | '>' | '-')).is_some() {}
                if characters.next_if_eq(&'&').is_some() {
                    names_descriptor = characters.next_if(char::is_ascii_digit).is_some();
                }
                if !names_descriptor {
                    tokens.push(Token::Redirection);
                }
            }
            '|' | '&' | ';' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Operator);
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}
