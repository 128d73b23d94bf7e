# RSK_PKG(PREFIX, MODULE, DEBIAN-PACKAGE): PKG_CHECK_MODULES with a sentence that helps.
AC_DEFUN([RSK_PKG], [
	m4_ifdef([PKG_CHECK_MODULES], [],
		[m4_fatal([pkg-config's macros are missing: install the Debian package pkg-config])])
	PKG_CHECK_MODULES([$1], [$2], [], [AC_MSG_ERROR([$2 is missing: install the Debian package $3])])
])
