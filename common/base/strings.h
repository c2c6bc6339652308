// Bridges between std::string_view, which our interfaces speak, and absl::string_view, which is a type of its own in
// Debian 12's Abseil (ABSL_OPTION_USE_STD_STRING_VIEW is 0) and an alias in Debian 13's. Text is put together with
// fmt::format, which takes either.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace postern {

inline absl::string_view AbslView(std::string_view view) { return {view.data(), view.size()}; }
inline std::string_view StdView(absl::string_view view) { return {view.data(), view.size()}; }

}  // namespace postern
