// Identifiers of everything that has one: a prefix that says what it is, and 26 characters that sort by creation time.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "common/base/random.h"

namespace postern {

inline constexpr std::string_view kGrantPrefix = "grt_";
inline constexpr std::string_view kApprovalPrefix = "apr_";
inline constexpr std::string_view kSessionPrefix = "ses_";
inline constexpr std::string_view kSidecarPrefix = "sdc_";
inline constexpr std::string_view kTemplatePrefix = "tpl_";
inline constexpr std::string_view kDelegationPrefix = "dlg_";
inline constexpr std::string_view kDeliveryPrefix = "whd_";

// prefix + ULID: 48 bits of milliseconds, then 80 random bits, in lower-case Crockford base 32.
std::string NewId(std::string_view prefix, absl::Time now, Random& random);

// True if `id` is `prefix` and 26 characters of the alphabet.
bool IsId(std::string_view id, std::string_view prefix);

// A random (version 4) UUID, for request ids.
std::string NewUuid(Random& random);

// True for the 8-4-4-4-12 form, either case.
bool IsUuid(std::string_view text);

}  // namespace postern
