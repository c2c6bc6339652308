// What the `session` of the policies sets stays set: no statement of the session may undo it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/policy/policy.h"

namespace postern::policy {

// Why `statement` would undo one of `terms`, or could: one sentence. nullopt: it does not. A setting may be made
// stricter than its term, and may go back to what the session started with, which is the term or stricter.
std::optional<std::string> UndoesTerms(const SessionTerms& terms, const sql::Statement& statement);

}  // namespace postern::policy
