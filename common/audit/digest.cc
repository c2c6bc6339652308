#include "common/audit/digest.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <openssl/evp.h>

namespace postern::audit {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

[[noreturn]] void NoSha256() {
  std::fputs("postern: OpenSSL cannot compute SHA-256; check its providers\n", stderr);
  std::abort();
}

// Fetched once: an implicit fetch per digest costs as much as hashing a small record.
const EVP_MD* Algorithm() {
  static const EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  if (md == nullptr) NoSha256();
  return md;
}

template <typename Int>
void AppendBigEndian(std::string& out, Int value) {
  char bytes[sizeof(Int)];
  for (size_t i = 0; i < sizeof(Int); ++i) bytes[i] = static_cast<char>(value >> (8 * (sizeof(Int) - 1 - i)));
  out.append(bytes, sizeof(Int));
}

template <typename Int>
Int ReadBigEndian(const char* bytes) {
  Int value = 0;
  for (size_t i = 0; i < sizeof(Int); ++i) value = static_cast<Int>((value << 8) | static_cast<uint8_t>(bytes[i]));
  return value;
}

}  // namespace

Digest Sha256(std::initializer_list<std::string_view> pieces) {
  thread_local const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  Digest digest;
  bool ok = context != nullptr && EVP_DigestInit_ex(context.get(), Algorithm(), nullptr) == 1;
  for (std::string_view piece : pieces) {
    ok = ok && EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1;
  }
  if (!ok || EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) NoSha256();
  return digest;
}

std::optional<Digest> ToDigest(std::string_view bytes) {
  if (bytes.size() != kDigestBytes) return std::nullopt;
  Digest digest;
  std::memcpy(digest.data(), bytes.data(), kDigestBytes);
  return digest;
}

void AppendBe16(std::string& out, uint16_t value) { AppendBigEndian(out, value); }
void AppendBe32(std::string& out, uint32_t value) { AppendBigEndian(out, value); }
void AppendBe64(std::string& out, uint64_t value) { AppendBigEndian(out, value); }
uint16_t ReadBe16(const char* bytes) { return ReadBigEndian<uint16_t>(bytes); }
uint32_t ReadBe32(const char* bytes) { return ReadBigEndian<uint32_t>(bytes); }
uint64_t ReadBe64(const char* bytes) { return ReadBigEndian<uint64_t>(bytes); }

}  // namespace postern::audit
