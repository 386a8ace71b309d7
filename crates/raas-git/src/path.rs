//! Which paths of a repository may become files of this machine.

/// Whether a path stays below the folder where it starts: no part is empty, `.` or `..`.
pub fn is_safe_path(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
