questionsOf().start();
