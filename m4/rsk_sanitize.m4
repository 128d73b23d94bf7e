# RSK_SANITIZE: --enable-sanitize=address,undefined or =thread.
AC_DEFUN([RSK_SANITIZE], [
	AC_ARG_ENABLE([sanitize],
		[AS_HELP_STRING([--enable-sanitize=LIST],
			[build with these sanitizers: address,undefined or thread])],
		[AS_IF([test "x$enableval" = xyes], [enableval=address,undefined])],
		[enableval=no])
	AS_IF([test "x$enableval" != xno], [
		SANITIZE_CFLAGS="-fsanitize=$enableval -fno-sanitize-recover=all -fno-omit-frame-pointer"
		rsk_saved_cflags=$CFLAGS
		CFLAGS="$CFLAGS $SANITIZE_CFLAGS"
		AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [],
			[AC_MSG_ERROR([this compiler cannot link with -fsanitize=$enableval: with clang, install the Debian package libclang-rt-dev])])
		CFLAGS=$rsk_saved_cflags
		AC_DEFINE([RSK_SANITIZED], [1], [built with a sanitizer])
	])
	AC_SUBST([SANITIZE_CFLAGS])
])
