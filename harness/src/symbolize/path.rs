//! Source paths: from what DWARF says to what kernel developers say (`mm/migrate.c`).

/// Resolves `.` and `..` in a path without looking at any disk.
pub(super) fn normalize(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                None if absolute => {}
                None | Some(&"..") => parts.push(".."),
                Some(_) => {
                    parts.pop();
                }
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if absolute {
        format!("/{joined}")
    } else {
        joined
    }
}

/// The root of a kernel tree, its slash at the end, from the path of the file that `start_kernel` stands in; empty if that
/// is no kernel's.
///
/// The compilation directory is not enough: with `make O=` it is the object tree.
pub(super) fn root(start_kernel: &str) -> &str {
    let root = start_kernel.strip_suffix("init/main.c").unwrap_or_default();
    if root.ends_with('/') {
        root
    } else {
        ""
    }
}

/// A normalized path within the tree that `root` names.
pub(super) fn relative<'p>(path: &'p str, root: &str) -> &'p str {
    path.strip_prefix(root).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_in_the_tree() {
        for (path, expected) in [
            ("/src/linux/mm/migrate.c", "/src/linux/mm/migrate.c"),
            ("/src/linux/./include/linux/mm.h", "/src/linux/include/linux/mm.h"),
            ("/src/build/../linux//mm/migrate.c", "/src/linux/mm/migrate.c"),
            ("../../mm/migrate.c", "../../mm/migrate.c"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("./arch/../mm/x.c", "mm/x.c"),
            ("", ""),
        ] {
            assert_eq!(normalize(path), expected, "{path}");
        }
        let of = root("/src/linux/init/main.c");
        assert_eq!(relative("/src/linux/mm/migrate.c", of), "mm/migrate.c");
        assert_eq!(relative("/src/build/include/generated/x.h", of), "/src/build/include/generated/x.h");
        assert_eq!(root("init/main.c"), "");
        assert_eq!(root("/src/xinit/main.c"), "");
        assert_eq!(root("/src/a.c"), "");
    }
}
