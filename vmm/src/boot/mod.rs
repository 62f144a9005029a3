//! From files to a guest about to run: kernel, initramfs, command line, tables, first registers.
