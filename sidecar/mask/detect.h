// Content detectors: a second net over text that no mask covers. They look for what is personal or secret by its own
// form, and say so only where that form has a proof in it: check digits, a known prefix, a structure. One pass over the
// bytes, without backtracking: each byte is looked at a bounded number of times.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/policy/detectors.h"
#include "common/sql/catalog.h"

namespace postern::mask {

using policy::Detector;
using policy::DetectorSet;

// How often each detector has found something.
using DetectorCounts = std::array<int64_t, policy::kDetectorCount>;

// Appends `text` to `out` with everything that `wanted` finds replaced by "[email]", "[card]"…; `counts` gain a one
// each. False if nothing was found: `out` is then unchanged. `json`: what stands outside of strings is put into quotes,
// so that the document stays one.
bool ReplaceDetected(std::string_view text, DetectorSet wanted, bool json, std::string* out, DetectorCounts* counts);

// True for types whose values are searched: text and its kin, json, xml, and arrays of text.
bool IsSearched(sql::Oid type);

// The same for a value of a searched type as the server sends it; type 0 is a type that is not known. nullopt: it must
// give way to NULL, because it is not what its type says, or is binary, of no known type, and something was found.
std::optional<bool> ReplaceInValue(sql::Oid type, int16_t format, std::string_view value, DetectorSet wanted,
                                   std::string* out, DetectorCounts* counts);

}  // namespace postern::mask
