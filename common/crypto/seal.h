// Sealing at rest: AES-256-GCM in an envelope. Each record has a key of its own (DEK), wrapped by a key-encryption key
// (KEK) that lives in a file beside the store and never in it. The byte format stands in docs/formats/sealed.md.
//
// Associated data names the place that a record belongs to ("target/demo/password"), so that a record copied to another
// row does not open.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/secret.h"

namespace postern::crypto {

inline constexpr size_t kKekBytes = 32;

// The KEKs of one installation: the first seals, each opens what it sealed. Immutable; thread-safe.
class Keyring {
 public:
  struct Kek {
    std::string id;  // 1 to 32 of a-z, 0-9, -
    Secret key;      // kKekBytes
  };

  // INVALID_ARGUMENT/KEK_MALFORMED if there is no key, an id is used twice or malformed, or a key is of another length.
  static absl::StatusOr<Keyring> Create(std::vector<Kek> keks);

  // Reads a key file: a line `id base64(key)` for each key, the current one first; empty lines and lines that begin
  // with
  // `#` are skipped.
  //   FAILED_PRECONDITION/KEK_FILE_OPEN_TO_OTHERS if group or others may read or write it, or it is not a plain file.
  //   NOT_FOUND/KEK_FILE_MISSING, INVALID_ARGUMENT/KEK_MALFORMED, UNAVAILABLE/KEK_FILE_UNREADABLE.
  static absl::StatusOr<Keyring> Load(const std::string& path);

  // Writes a new key file with one random key, mode 0600, synced to disk. ALREADY_EXISTS/KEK_FILE_EXISTS.
  static absl::Status CreateFile(const std::string& path, std::string_view id, Random& random);

  // Seals `plaintext` under the current KEK.
  absl::StatusOr<std::string> Seal(const Secret& plaintext, std::string_view associated_data, Random& random) const;

  // DATA_LOSS/SEAL_BROKEN if `sealed` was altered or belongs elsewhere; NOT_FOUND/KEK_UNKNOWN if its KEK is not here.
  absl::StatusOr<Secret> Open(std::string_view sealed, std::string_view associated_data) const;

  const std::string& current_id() const { return keks_.front().id; }

 private:
  explicit Keyring(std::vector<Kek> keks) : keks_(std::move(keks)) {}
  std::vector<Kek> keks_;
};

}  // namespace postern::crypto
