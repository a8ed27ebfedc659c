/** The lesson in English. Another language is a file with the same keys; `lessons/languages.js` names them. */

export const ENGLISH = {
  code: "en",
  name: "English",
  page: {
    title: "Why initialization matters",
    intro: "Seven steps of a few minutes each. Guess, run, look.",
    language: "Language",
    steps: "Steps of the lesson",
    step: (number, count) => `Step ${number} of ${count}`,
    source: "Source",
    guess: "Your guess",
    learnedQuestion: (epochs) =>
      `Each network is trained for ${epochs === 1 ? "one epoch" : `${epochs} epochs`}. Which one is right on more than 80 % of the test digits?`,
    none: "none of them",
    run: "Run it",
    again: "Run it again",
    guessFirst: "Choose an answer, then run it.",
    waiting: "waits for a worker",
    training: (epoch) => `trains, epoch ${epoch}`,
    pretraining: (epoch) => `learns images, epoch ${epoch}`,
    ended: { succeeded: "trained", failed: "failed", cancelled: "cancelled" },
    network: "network",
    state: "state",
    accuracy: "right on test digits",
    loss: "training loss",
    divergence: "divergence of recreations from digits, nats an image, by epoch",
    youWereRight: "Your guess is right.",
    youWereWrong: (answer) => `Your guess is not right. The answer: ${answer}.`,
    exercise: "Exercise",
    pictures: "Pictures",
    watch: "Look at these runs in Watch",
    previous: "Back",
    next: "Next",
    score: (right, count) => `${right} of ${count} guesses right so far.`,
    free: "Train networks of your own in Start",
    fewDigits:
      "The full MNIST is not on this machine: the networks learn from 5,000 digits, and take more epochs over them.",
    weightsOf: (name) => `Weights of the first units of ${name}`,
    allZero: "every weight is 0",
    slider: "standard deviation of the weights",
    signal: "Before training",
  },
  steps: {
    weight: {
      title: "What a weight does",
      text: [
        "A unit multiplies each of its inputs by a weight, adds the products and a bias, and gives the sum z to its activation φ. A picture of 784 pixels gives each unit of the first layer 784 weights. They can be drawn as a picture too.",
        "Training starts from some weights. After every batch of images it changes each of them a little, against the gradient of the loss. The start decides how fast the network learns, and whether it learns at all.",
      ],
      question: "This network has random weights and has seen no image. How many of 100 test digits does it get right?",
      choices: ["about 10", "about 50", "about 90"],
      because:
        "There are ten digits, and random weights know nothing of them. One epoch, one pass over the training images, changes that.",
      exercise: "Compare the pictures. Which pixels have the same weights before and after the epoch, and why?",
    },
    zeros: {
      title: "Why not all zeros",
      text: [
        "If the weights of all units of a layer are equal, these units compute the same number. On the way back they get the same gradient δ, so they are still equal after the step. A layer of 256 units then does the work of one. This is called symmetry.",
        "With zeros and ReLU no weight changes: every hidden unit gives 0, and every weight between layers sends back a gradient of 0. Only the biases of the output learn. The network gives the same answer to every image.",
      ],
      because:
        "Units that are equal stay equal. The network of zeros gives the same answer to every image: on the full MNIST 1, its most frequent digit. Weights are drawn at random so that units differ.",
      exercise:
        "The network of constants learns a little. Look at its units: what can a layer of equal units still do?",
    },
    size: {
      title: "Why size matters",
      text: [
        "The variance of a sum of n independent products is n times that of one. If the weights have the variance σ², every layer multiplies the mean square of its signal by about n σ².",
        "Ten layers do this ten times. Below 1 the signal dies. Above 1 it grows until tanh is at its limits, where its slope is almost 0 and no gradient comes back. Move the slider and see what 10 layers of 100 units make of 512 images.",
      ],
      because:
        "100 units and a standard deviation of .01 make the signal ten times smaller in each layer. With 1 every unit is at its limit. With .1 = 1/√100 the size is kept.",
      exercise:
        "With which deviations does the slider's verdict say “fine”? Multiply the variance by 100 and compare it with 1.",
    },
    rbm: {
      title: "RBM and deep belief networks",
      text: [
        "Hinton, Osindero and Teh (2006) trained each layer alone before the whole network. A restricted Boltzmann machine (RBM) computes hidden units h from an image v, and from h an image again. Contrastive divergence compares the actual image with this recreation, and changes the weights.",
        "The hidden units are the image that the next machine learns from. The machines together, a deep belief network (DBN), give an ordinary network its first weights. The Kullback-Leibler divergence says how far recreations are from the actual digits.",
      ],
      question:
        "A machine with 64 hidden units learns for four epochs. How does the divergence of its recreations change?",
      choices: ["it falls", "it stays the same", "it rises"],
      because:
        "It falls from epoch to epoch, without any label. Below are test digits, and what 64 hidden units keep of them.",
      exercise: "Which digits are recreated badly? In Start choose dbn with more hidden units, and look again.",
    },
    xavier: {
      title: "Xavier: keep the variance",
      text: [
        "Glorot and Bengio (2010) ask for weights that keep the variance. Forwards a unit adds n_in products, so n_in Var(W) should be 1. Backwards a unit collects n_out gradients, so n_out Var(W) should be 1. Both hold only for n_in = n_out, so they take the mean of n_in and n_out.",
        "The variance of a uniform distribution between −a and a is a²/3, which gives a. torch's default has a third of the variance, 1/(3 n_in).",
      ],
      because:
        "With torch's default every layer divides what differs between images by √3 = 1.7: from the first to the tenth by about 140. Its random biases, the same for all images, are what is left of the signal. Xavier's weights keep it, as long as the activation is nearly linear around 0, as tanh is.",
      exercise: "Why is torch's default good enough for the first notebook's network?",
    },
    he: {
      title: "He: the half that ReLU loses",
      text: [
        "ReLU sets all negative z to 0. On average that is half of them, and half of the mean square is lost: E[h²] is half of Var(z). With Xavier's weights each layer therefore halves the mean square of the signal, and 30 layers leave 2⁻³⁰ of it, a billionth.",
        "He, Zhang, Ren and Sun (2015) double the variance of the weights to make up for it. The 2 in 2 / n_in is this half. It is no Xavier “without n_out”: that would be 1 / n_in.",
      ],
      because:
        "Thirty layers, and only one start lets them learn. Each of the other two networks gives the same answer to every image, as zeros do.",
      exercise: "In Start train the same network with a rate ten times larger. Does He's start still help?",
    },
    notebooks: {
      title: "The two notebooks",
      text: [
        "The course's notebooks train 784-256-256-10 and 784-512-512-512-512-10 with ReLU, Xavier's uniform weights, Adam at .001, batches of 100, 15 epochs and seed 777. Both reach about 98 %. Few layers forgive many starts, and Adam divides each gradient by its own size.",
        "The note needs corrections: √(2/(n+m)) is a standard deviation, not a variance; zeros do not make every gradient 0; and the notebooks test with pixels of 0 to 255 what was trained with 0 to 1.",
      ],
      question: "Both networks are trained for one epoch. Which one is better on the test digits?",
      choices: [
        "the first, with 2 hidden layers",
        "the second, with 4 hidden layers",
        "neither: less than half a per cent apart",
      ],
      because:
        "One run with one seed shows little. Start trains several seeds, and Compare says what can be told from them.",
      exercise: "In Start train both notebooks with seeds 0, 1, 2, and read in Compare how sure the difference is.",
    },
  },
};
