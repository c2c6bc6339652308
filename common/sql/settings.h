// Which settings (GUCs) a session may change without changing how SQL is read, checked or recorded. Internal to
// common/sql.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/sql/analysis.h"

namespace postern::sql::internal {

// The operation that setting `name` (lower case) to `value` is: kSet, kSetProtected or kSetRole. Without a value it is
// a reset to the default, which analysis does not know. Unknown settings are protected.
Operation SettingOperation(std::string_view name, const std::optional<std::string>& value);

// Why a search_path must not be set at all: a schema before pg_catalog would shadow what every name means. Empty: fine.
std::string SearchPathProblem(std::string_view value);

}  // namespace postern::sql::internal
