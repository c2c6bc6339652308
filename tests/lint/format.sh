#!/usr/bin/env bash
# Every C++ file is as clang-format leaves it.
cd "$1" || exit 2
git ls-files '*.cc' '*.h' | xargs -P 2 -n 20 clang-format --dry-run --Werror
