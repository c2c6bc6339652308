// Several texts in one, for keys and digests.
#pragma once

#include <iterator>
#include <string>
#include <string_view>

#include "fmt/format.h"

namespace postern {

// Appends `field` behind its length, so that no two lists of fields have the same bytes.
inline void AppendField(std::string_view field, std::string* bytes) {
  fmt::format_to(std::back_inserter(*bytes), "{}:", field.size());
  bytes->append(field);
}

}  // namespace postern
