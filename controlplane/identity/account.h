// The rules of accounts, apart from how they are called and kept.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "postern/v1/identity.pb.h"

namespace postern::identity {

// INVALID_ARGUMENT/ACCOUNT_INVALID with what is wrong. Keys are checked by ReadKey.
absl::Status CheckAccount(const v1::Account& account);

// The key as it is kept: id and create_time are set here, the PEM is normalised.
//   INVALID_ARGUMENT/KEY_MALFORMED, KEY_EXPIRY (absent, past, or more than kMaxKeyLifetime away).
absl::StatusOr<v1::AccountKey> ReadKey(const v1::AccountKey& key, absl::Time now);

// A group's name: 1 to 256 bytes without white space or control characters.
bool IsGroupName(std::string_view name);

bool IsRole(std::string_view role);

}  // namespace postern::identity
