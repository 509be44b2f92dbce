"""Where the plugin meets RecBole: what is registered, and what of RecBole's is replaced."""
