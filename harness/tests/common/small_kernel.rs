//! A tree that builds as a kernel does, as far as the harness can tell, in milliseconds: the targets, `CC` lines, `.cmd`
//! files, a bzImage with a boot header. What it compiles is copied.

use std::path::Path;

/// Each object is written in two halves, [`SLOW`] apart. Every compilation adds a line to the file `$COMPILED`.
const MAKEFILE: &str = r#"
OBJECTS := mm/a.o mm/b.o mm/c.o mm/d.o
tinyconfig:
	@printf 'CONFIG_TINY=y\n' > .config
olddefconfig: ;
bzImage: vmlinux
	@mkdir -p arch/x86/boot
	@{ head -c 514 /dev/zero; printf HdrS; head -c 8 /dev/zero; printf '\000\002'; head -c 496 /dev/zero; \
	printf '6.1.0-small (me@here) #%s SMP now\000' '$(KBUILD_BUILD_VERSION)'; } > arch/x86/boot/bzImage
vmlinux: $(OBJECTS)
	@cat $(OBJECTS) > vmlinux
mm/%.o: mm/%.c include/linux/mm.h
	@echo "  CC      $@"; echo $@ >> "$$COMPILED"
	@head -n 1 $< > $@; sleep $${SLOW:-0}; cat $< include/linux/mm.h > $@
	@touch mm/.$*.o.cmd
"#;

/// Writes it to `root`.
pub fn write(root: &Path) {
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("Makefile", MAKEFILE);
    write("Kconfig", "");
    write("include/linux/mm.h", "header\n");
    for name in ["a", "b", "c", "d"] {
        write(&format!("mm/{name}.c"), &format!("{name} one\n{name} two\n"));
    }
}
