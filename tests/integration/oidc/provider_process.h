// Runs tests/node/oidc_provider.mjs and speaks to it.
#pragma once

#include <string>
#include <string_view>

#include <sys/types.h>

namespace postern::identity {

class ProviderProcess {
 public:
  // Plain HTTP; with files, HTTPS by this certificate, which `ca_file` signed.
  ProviderProcess() : ProviderProcess("", "", "") {}
  ProviderProcess(const std::string& certificate_file, const std::string& key_file, const std::string& ca_file);
  ~ProviderProcess();
  ProviderProcess(const ProviderProcess&) = delete;
  ProviderProcess& operator=(const ProviderProcess&) = delete;

  // Its issuer; empty (and the test has failed) if it did not start.
  const std::string& url() const { return url_; }

  // `claims` is a JSON object; the answer is the token. A refusal fails the test.
  std::string IdToken(std::string_view algorithm, std::string_view claims);
  std::string WorkloadToken(std::string_view claims);
  void Rotate(bool keep_old);
  void Fault(std::string_view kind);
  // How often the key set was asked for.
  int JwksHits();

 private:
  void Start(const std::string& certificate_file, const std::string& key_file, const std::string& ca_file);
  // Sends one line and gives the member `member` of the answer, as text.
  std::string Command(const std::string& line, const char* member);
  std::string ReadLine();

  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  std::string buffer_;
  std::string url_;
};

}  // namespace postern::identity
