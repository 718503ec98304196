"""From the official files of question sets to the mixture that a recipe trains on."""
