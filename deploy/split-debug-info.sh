#!/bin/sh
# Moves the debug information of a program into PROGRAM.debug beside it, and strips the program.
# usage: split-debug-info.sh PROGRAM
#
# The program names its .debug file. Backtraces of raas, gdb and perf find the file in the program's folder, in .debug
# below it, or in /usr/lib/debug. Needs objcopy of binutils; OBJCOPY names that of
# another processor.
set -eu
program=$1
debug=$program.debug
objcopy=${OBJCOPY:-objcopy}
"$objcopy" --only-keep-debug "$program" "$debug.new"
chmod 644 "$debug.new"
mv "$debug.new" "$debug"
# --strip-all comes first: the link is a section too.
"$objcopy" --strip-all "$program" "$program.new"
"$objcopy" --add-gnu-debuglink="$debug" "$program.new"
mv "$program.new" "$program"
