/* A static program of glibc loads the modules that /etc/nsswitch.conf names, and those of another glibc end it with a
   signal. So it takes what it has inside: the files of /etc, and DNS. */
#include <nss.h>

__attribute__((constructor)) static void use_built_in_modules(void) {
    __nss_configure_lookup("hosts", "files dns");
    __nss_configure_lookup("passwd", "files");
    __nss_configure_lookup("group", "files");
}
