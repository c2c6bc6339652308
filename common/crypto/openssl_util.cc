#include "common/crypto/openssl_util.h"

#include <array>
#include <cctype>

#include <fmt/format.h>
#include <openssl/err.h>

#include "common/base/errors.h"

namespace postern::crypto {

absl::Status OpenSslError(std::string_view what) {
  std::array<char, 256> text{};
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return Error(absl::StatusCode::kInternal, "CRYPTO_FAILED", what);
  ERR_error_string_n(code, text.data(), text.size());
  return Error(absl::StatusCode::kInternal, "CRYPTO_FAILED", fmt::format("{}: {}", what, text.data()));
}

BioPtr ReadBio(std::string_view bytes) { return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))); }

BioPtr WriteBio() { return BioPtr(BIO_new(BIO_s_mem())); }

std::string BioContents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

bool OnlyWhitespaceLeft(BIO* bio) {
  char c = 0;
  while (BIO_read(bio, &c, 1) == 1) {
    if (!std::isspace(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

int NoPassword(char*, int, int, void*) { return -1; }

}  // namespace postern::crypto
