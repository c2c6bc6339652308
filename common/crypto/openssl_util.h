// Small things that the files of this room share.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/crypto/openssl_ptr.h"

namespace postern::crypto {

// INTERNAL/CRYPTO_FAILED with OpenSSL's own words. Empties the thread's error queue.
absl::Status OpenSslError(std::string_view what);

// A read-only BIO over `bytes`, which must outlive it.
BioPtr ReadBio(std::string_view bytes);
// A memory BIO to write to.
BioPtr WriteBio();
// What was written to `bio`.
std::string BioContents(BIO* bio);

// Whether nothing but white space is left to read.
bool OnlyWhitespaceLeft(BIO* bio);

// A pem_password_cb that has no password, so that OpenSSL never asks on the terminal.
int NoPassword(char* buffer, int size, int writing, void* arg);

}  // namespace postern::crypto
